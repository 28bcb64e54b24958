/* What C's mathematical library would give, as far as actors need it. Each function is copied into
   an actor that calls it; those that it calls come before it. */

/* The nearest integer, halves away from zero. */
static int32_t policy_round(float x) {
  return (int32_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
}

/* e^x by 2^k times a polynomial of the rest, to 2e-7 of its value. */
static float policy_exp(float x) {
  union { uint32_t bits; float value; } power;
  float rest, result;
  int32_t k;
  if (!(x > -87.0f)) { return x == x ? 0.0f : x; }
  if (x > 88.0f) { x = 88.0f; }
  k = policy_round(x * 1.44269504f);
  rest = (x - (float)k * 0.693359375f) + (float)k * 2.12194440e-4f;
  result = 1.0f / 5040.0f;
  result = result * rest + 1.0f / 720.0f;
  result = result * rest + 1.0f / 120.0f;
  result = result * rest + 1.0f / 24.0f;
  result = result * rest + 1.0f / 6.0f;
  result = result * rest + 0.5f;
  result = result * rest + 1.0f;
  result = result * rest + 1.0f;
  power.bits = (uint32_t)(k + 127) << 23;
  return result * power.value;
}

/* e^x - 1; near 0 by its series, where the difference would lose digits. */
static float policy_expm1(float x) {
  if (x > -0.25f && x < 0.25f) {
    return x * (1.0f + x * (0.5f + x * (1.0f / 6.0f + x * (1.0f / 24.0f +
           x * (1.0f / 120.0f + x * (1.0f / 720.0f))))));
  }
  return policy_exp(x) - 1.0f;
}

static float policy_tanh(float x) {
  float t;
  if (x > 9.0f) { return 1.0f; }
  if (x < -9.0f) { return -1.0f; }
  t = policy_expm1(x < 0.0f ? 2.0f * x : -2.0f * x);
  return x < 0.0f ? t / (t + 2.0f) : -t / (t + 2.0f);
}

static float policy_logistic(float x) {
  float t;
  if (x >= 0.0f) { return 1.0f / (1.0f + policy_exp(-x)); }
  t = policy_exp(x);
  return t / (1.0f + t);
}

/* Newton's method from a guess that halves the exponent. */
static float policy_sqrt(float x) {
  union { uint32_t bits; float value; } guess;
  int32_t i;
  if (!(x > 0.0f)) { return x == 0.0f ? 0.0f : (x - x) / (x - x); }
  guess.value = x;
  guess.bits = (guess.bits >> 1) + 0x1fbd1df5u;
  for (i = 0; i < 4; ++i) { guess.value = 0.5f * (guess.value + x / guess.value); }
  return guess.value;
}

/* The natural logarithm by the series of its mantissa around 1. */
static float policy_log(float x) {
  union { uint32_t bits; float value; } part;
  float s, z;
  int32_t k;
  if (!(x > 0.0f)) { return x == 0.0f ? -1.0e30f : (x - x) / (x - x); }
  part.value = x;
  k = (int32_t)(part.bits >> 23) - 127;
  part.bits = (part.bits & 0x007fffffu) | 0x3f800000u;
  if (part.value > 1.41421356f) { part.value *= 0.5f; ++k; }
  s = (part.value - 1.0f) / (part.value + 1.0f);
  z = s * s;
  return (float)k * 0.693147181f + 2.0f * s * (1.0f + z * (1.0f / 3.0f + z * (1.0f / 5.0f +
         z * (1.0f / 7.0f + z * (1.0f / 9.0f)))));
}

/* Abramowitz & Stegun 7.1.26, to 1.5e-7. */
static float policy_erf(float x) {
  const float size = x < 0.0f ? -x : x;
  const float t = 1.0f / (1.0f + 0.3275911f * size);
  const float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f +
                     t * (-1.453152027f + t * 1.061405429f)))) * policy_exp(-size * size);
  return x < 0.0f ? tail - 1.0f : 1.0f - tail;
}
