"""A picture of a digit becomes an image like MNIST's."""
