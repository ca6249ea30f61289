/* Classifies an image: ./digits 7.pgm

   The image has the size in digits.h, as a binary PGM if it is grey and a binary PPM if it is in colour.
   Prints the number of the class, then the probability of each class; digits.h has the names.

   SPDX-License-Identifier: MIT */

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "digits.h"

/* The next number in the header, where # starts a comment; -1 when there is none. */
static int header_number(FILE *file) {
  int number = -1, c;
  while (fscanf(file, " %d", &number) != 1) {
    if (fgetc(file) != '#') return -1;
    do c = fgetc(file);
    while (c != '\n' && c != EOF);
  }
  return number;
}

static int read_image(const char *name, uint8_t image[DIGITS_VALUES]) {
  FILE *file = fopen(name, "rb");
  int complete = 0;
  if (!file) return 0;
  if (fgetc(file) == 'P' && fgetc(file) == (DIGITS_CHANNELS == 1 ? '5' : '6')) {
    const int width = header_number(file), height = header_number(file), white = header_number(file);
    complete = isspace(fgetc(file)) && width == DIGITS_WIDTH && height == DIGITS_HEIGHT && white == 255 &&
               fread(image, 1, DIGITS_VALUES, file) == DIGITS_VALUES;
  }
  fclose(file);
  return complete;
}

int main(int count, char **arguments) {
  static uint8_t image[DIGITS_VALUES];
  float logits[DIGITS_CLASSES];
  double sum = 0;
  int label;

  if (count != 2 || !read_image(arguments[1], image)) {
    fprintf(stderr, "usage: digits FILE, a binary %s of %dx%d pixels with values up to 255\n",
            DIGITS_CHANNELS == 1 ? "PGM" : "PPM", DIGITS_WIDTH, DIGITS_HEIGHT);
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
