/* Classifies a picture: ./digits 7.pgm

   The picture is a binary PGM of 28x28 pixels, light ink on a dark background, placed as in MNIST.
   Prints the number of the class, then the probability of each class; digits.h has the names.

   SPDX-License-Identifier: MIT */

#include <math.h>
#include <stdio.h>

#include "digits.h"

/* The next number in the header of a PGM, where # starts a comment; -1 when there is none. */
static int header_number(FILE *file) {
  int number = -1, c;
  while (fscanf(file, " %d", &number) != 1) {
    if (fgetc(file) != '#') return -1;
    do c = fgetc(file);
    while (c != '\n' && c != EOF);
  }
  return number;
}

static int read_pgm(const char *name, uint8_t image[DIGITS_PIXELS]) {
  FILE *file = fopen(name, "rb");
  int complete = 0;
  if (!file) return 0;
  if (fgetc(file) == 'P' && fgetc(file) == '5') {
    const int width = header_number(file), height = header_number(file), white = header_number(file);
    fgetc(file); /* the white space that ends the header */
    complete = width == 28 && height == 28 && white == 255 && fread(image, 1, DIGITS_PIXELS, file) == DIGITS_PIXELS;
  }
  fclose(file);
  return complete;
}

int main(int count, char **arguments) {
  uint8_t image[DIGITS_PIXELS];
  float logits[DIGITS_CLASSES];
  double sum = 0;
  int label;

  if (count != 2 || !read_pgm(arguments[1], image)) {
    fprintf(stderr, "usage: digits FILE, a binary PGM of 28x28 pixels with values up to 255\n");
    return 2;
  }
  digits_logits(image, logits);
  label = digits_predict(image);
  for (int i = 0; i < DIGITS_CLASSES; i++) sum += exp((double)logits[i] - (double)logits[label]);
  printf("%d\n", label);
  for (int i = 0; i < DIGITS_CLASSES; i++) {
    printf("%d  %5.1f %%\n", i, 100 * exp((double)logits[i] - (double)logits[label]) / sum);
  }
  return 0;
}
