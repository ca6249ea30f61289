/* How many multiply-adds one thread of this CPU can do: all operands in registers, sums that do not wait for each
   other. int8 here means exact sums of int8 products in 32 bits, by the widest instruction that gives them. */

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { SUMS = 12 }; /* enough to hide the latency of an addition, and few enough for 16 registers */

/* Stops the compiler from moving the multiplication of unchanged operands out of the loop; no instruction. */
#if defined(__aarch64__)
#define RENEW(x) __asm__ volatile("" : "+w"(x))
#else
#define RENEW(x) __asm__ volatile("" : "+x"(x))
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__)
typedef __m512 Floats;
typedef __m512i Integers;
#define FLOAT_ADD(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#ifdef __AVX512VNNI__
#define INTEGER_ADD(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define PRODUCTS 64
#define INSTRUCTION "VPDPBUSD, 512 bits"
#else
#define INTEGER_ADD(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#define PRODUCTS 32
#define INSTRUCTION "VPMADDWD, 512 bits"
#endif
#elif defined(__AVX2__) && defined(__FMA__)
typedef __m256 Floats;
typedef __m256i Integers;
#define FLOAT_ADD(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#ifdef __AVXVNNI__
#define INTEGER_ADD(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#define PRODUCTS 32
#define INSTRUCTION "VPDPBUSD, 256 bits"
#else
#define INTEGER_ADD(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define PRODUCTS 16
#define INSTRUCTION "VPMADDWD, 256 bits"
#endif
#elif defined(__x86_64__)
typedef __m128 Floats;
typedef __m128i Integers;
#define FLOAT_ADD(sum, a, b) _mm_add_ps(sum, _mm_mul_ps(a, b))
#define INTEGER_ADD(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#define PRODUCTS 8
#define INSTRUCTION "PMADDWD"
#elif defined(__aarch64__)
typedef float32x4_t Floats;
#define FLOAT_ADD(sum, a, b) vfmaq_f32(sum, a, b)
typedef int32x4_t Integers;
#ifdef __ARM_FEATURE_DOTPROD
#define INTEGER_ADD(sum, a, b) vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))
#define PRODUCTS 16
#define INSTRUCTION "SDOT"
#else
/* SMULL, SMLAL2, SADALP: two int8 products fit into 16 bits. */
#define A8 vreinterpretq_s8_s32(a)
#define B8 vreinterpretq_s8_s32(b)
#define INTEGER_ADD(sum, a, b) \
  vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(A8), vget_low_s8(B8)), A8, B8))
#define PRODUCTS 16
#define INSTRUCTION "SMLAL"
#endif
#else
#error "limits.c: x86-64 and aarch64 only"
#endif

const char *int8_instruction(void) { return INSTRUCTION; }

/* Both return how many multiply-adds they did. */
int64_t multiply_float(int64_t rounds) {
  Floats sums[SUMS], a, b;
  memset(sums, 0, sizeof sums);
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  for (int64_t round = 0; round < rounds; round++) {
    RENEW(a);
    RENEW(b);
#pragma clang loop unroll(full)
    for (int s = 0; s < SUMS; s++) sums[s] = FLOAT_ADD(sums[s], a, b);
  }
  for (int s = 0; s < SUMS; s++) RENEW(sums[s]);
  return rounds * SUMS * (int64_t)(sizeof(Floats) / sizeof(float));
}

int64_t multiply_int8(int64_t rounds) {
  Integers sums[SUMS], a, b;
  memset(sums, 0, sizeof sums);
  memset(&a, 1, sizeof a);
  memset(&b, 1, sizeof b);
  for (int64_t round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
    for (int s = 0; s < SUMS; s++) {
      RENEW(a);
      sums[s] = INTEGER_ADD(sums[s], a, b);
    }
  }
  for (int s = 0; s < SUMS; s++) RENEW(sums[s]);
  return rounds * SUMS * PRODUCTS;
}
