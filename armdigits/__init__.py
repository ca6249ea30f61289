"""The nouns that the stages share: parameters, data set, model, checkpoint, int8 program, timing, host."""
