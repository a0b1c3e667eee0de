/* level.c - which instruction sets this processor has
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

const char *
cpu_level_name (int level)
{
  static const char *const names[CPU_N_LEVELS] = { "plain", "avx2", "avx512" };
  return names[level];
}

#ifdef __x86_64__
#include <cpuid.h>

static bool
has_f16c (void)
{
  unsigned a, b, c = 0, d;
  return __get_cpuid (1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* The builtins also ask whether the system saves the wide registers. */
CpuLevel
cpu_level_probe (bool *has_bf16)
{
  *has_bf16 = false;
  if (!__builtin_cpu_supports ("avx2") || !__builtin_cpu_supports ("fma") ||
      !has_f16c ())
    return CPU_LEVEL_PLAIN;
  if (!__builtin_cpu_supports ("avx512f") ||
      !__builtin_cpu_supports ("avx512bw") ||
      !__builtin_cpu_supports ("avx512dq") ||
      !__builtin_cpu_supports ("avx512vl"))
    return CPU_LEVEL_AVX2;
  *has_bf16 = __builtin_cpu_supports ("avx512bf16");
  return CPU_LEVEL_AVX512;
}

#else

CpuLevel
cpu_level_probe (bool *has_bf16)
{
  *has_bf16 = false;
  return CPU_LEVEL_PLAIN;
}

#endif
