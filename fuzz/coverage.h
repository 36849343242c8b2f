/* Weak versions of the functions of the fuzzer, so that the programs of a C library link without it. */
#include <stdint.h>
#define STAND_IN(name, ...) __attribute__((weak, no_sanitize_coverage)) void name(__VA_ARGS__) {}
STAND_IN(__sanitizer_cov_trace_pc, void)
STAND_IN(__sanitizer_cov_trace_cmp1, uint8_t a, uint8_t b)
STAND_IN(__sanitizer_cov_trace_cmp2, uint16_t a, uint16_t b)
STAND_IN(__sanitizer_cov_trace_cmp4, uint32_t a, uint32_t b)
STAND_IN(__sanitizer_cov_trace_cmp8, uint64_t a, uint64_t b)
STAND_IN(__sanitizer_cov_trace_const_cmp1, uint8_t a, uint8_t b)
STAND_IN(__sanitizer_cov_trace_const_cmp2, uint16_t a, uint16_t b)
STAND_IN(__sanitizer_cov_trace_const_cmp4, uint32_t a, uint32_t b)
STAND_IN(__sanitizer_cov_trace_const_cmp8, uint64_t a, uint64_t b)
STAND_IN(__sanitizer_cov_trace_switch, uint64_t value, void *cases)
STAND_IN(__sanitizer_cov_trace_cmpf, float a, float b)
STAND_IN(__sanitizer_cov_trace_cmpd, double a, double b)
