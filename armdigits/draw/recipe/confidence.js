// The network's answer to an image, and how far it can be trusted.

const { UNSURE, SHIFTS } = settings.numbers.confidence;

/** The probabilities of the classes, the label with the largest one, and whether the answer may well be wrong. */
function answerTo(image) {
  const inField = { height: FIELD, width: FIELD, values: image };
  const [probabilities, ...others] = SHIFTS.map(([down, across]) => {
    network.image.set(part(inField, -down, -across, FIELD, FIELD).values);
    network.run();
    return softmax(network.logits);
  });
  network.image.set(image); // of which the time is taken
  const label = probabilities.indexOf(Math.max(...probabilities));
  const confidence = [probabilities, ...others].reduce((sum, shares) => sum + shares[label], 0) / SHIFTS.length;
  return { probabilities, label, unsure: confidence < UNSURE };
}

function softmax(logits) {
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}
