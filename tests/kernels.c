/* kernels.c - runs the kernel tests: right, and with --bench how fast
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels [--device NAME] [--slot NAME] [--threads N] [--few] [--bench]
 *
 * --few runs the first size of each case, one amid and the last, with uniform
 * values only.
 * Without --device: plain C against double precision, then every level the
 * processor has against plain C. A device that is not there skips (77).
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/variants.h"
#include "kernels/probe.h"
#include "tests/kernels-bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const KtCase *const families[] = { kt_cases_memory, kt_cases_matmul,
  kt_cases_norm, kt_cases_elementwise, kt_cases_merge, kt_cases_attention,
  kt_cases_listed, kt_cases_share, kt_cases_choice, kt_cases_rope,
  kt_cases_sample, kt_cases_image, kt_cases_onednn };
#define N_FAMILIES (int) (sizeof families / sizeof *families)

typedef struct Options {
  const char *device, *slot;
  int n_threads;
  bool few, bench;
} Options;

static int n_passed, n_failed;

static const KtCase *
find_case (size_t offset)
{
  for (int f = 0; f < N_FAMILIES; f++)
    for (const KtCase *c = families[f]; c->slot; c++)
      if (c->offset == offset)
        return c;
  return NULL;
}

/* Every member of Ops is a function pointer: walk them as an array. */
static void
check_slots (const Device *dev)
{
  int failed = n_failed;
  for (size_t at = 0; at < sizeof (Ops); at += sizeof (void *)) {
    const KtCase *c = find_case (at);
    void *slot;
    memcpy (&slot, (const char *) dev->op + at, sizeof slot);
    if (!slot && ++n_failed)
      printf ("not ok: %s leaves slot %zu (%s) of Ops empty\n", dev->name,
          at / sizeof (void *), c ? c->slot : "no case either");
    else if (!c && ++n_failed)
      printf ("not ok: slot %zu of Ops has no case\n", at / sizeof (void *));
  }
  n_passed += failed == n_failed;
}

static bool
is_one_of_few (int i, int n)
{
  return i == 0 || i == n / 2 || i == n - 1;
}

static void
run_case (Kt *kt, const KtCase *c, bool few)
{
  int n_sizes = 0;
  int n_fills = c->fills && !few ? KT_N_FILLS : 1;
  kt->name = c->slot;
  kt->n_failures = 0;
  while (n_sizes < KT_MOST_SIZES && c->sizes[n_sizes][0])
    n_sizes++;
  for (int i = 0; i < n_sizes; i++) {
    if (few && !is_one_of_few (i, n_sizes))
      continue;
    for (int fill = 0; fill < n_fills; fill++) {
      kt->size = c->sizes[i];
      kt->fill = (KtFill) fill;
      kt->seed = 0x9e3779b97f4a7c15u + i;
      c->run (kt, kt->size);
      kt_release (kt);
    }
  }
  *(kt->n_failures ? &n_failed : &n_passed) += 1;
}

static int
compare_times (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* The larger share of what bounds the op, in percent; 0 if not known. */
static double
share (const Kt *kt, const DeviceProbe *probe, double us)
{
  double memory = kt->bytes / us * 1e-3, products = kt->flops / us * 1e-3;
  memory = probe->read_gbs > 0 ? memory / probe->read_gbs : 0;
  products = probe->f32_gflops > 0 ? products / probe->f32_gflops : 0;
  return 100 * (memory > products ? memory : products);
}

static void
bench_case (Kt *kt, const KtCase *c, const DeviceProbe *probe)
{
  kt->name = c->slot;
  for (int i = 0; i < KT_N_BENCHES && c->benches[i][0]; i++) {
    kt->size = c->benches[i];
    kt->seed = 1;
    c->run (kt, kt->size);
    kt_release (kt);
    qsort (kt->times, kt->n_times, sizeof (double), compare_times);
    double us = kt->times[kt->n_times / 2], best = kt->times[0];
    char size[80] = "";
    for (int j = 0; j < KT_N_SIZES && kt->size[j]; j++)
      sprintf (size + strlen (size), " %d", kt->size[j]);
    printf ("%-16s%-26s %10.1f us, best %10.1f: %7.2f GB/s %8.2f GFLOP/s "
            "%4.0f%%\n",
        c->slot, size, us, best, kt->bytes / best * 1e-3,
        kt->flops / best * 1e-3, share (kt, probe, best));
  }
}

static void
print_probe (const DeviceProbe *probe)
{
  printf ("# probed: f32 %.1f GFLOP/s, bf16 %.1f GFLOP/s, int8 %.1f GOP/s, "
          "read %.1f GB/s\n",
      probe->f32_gflops, probe->bf16_gflops, probe->int8_gops, probe->read_gbs);
}

static void
run_all (const Options *options, Device *dev, Device *plain)
{
  DeviceProbe probe = { 0 };
  Kt kt = {
    .dev = { dev, plain }, .n_devices = plain ? 2 : 1, .timing = options->bench
  };
  if (options->bench) {
    probe = device_probe (dev);
    print_probe (&probe);
  }
  for (int f = 0; f < N_FAMILIES; f++)
    for (const KtCase *c = families[f]; c->slot; c++) {
      if (options->slot && strcmp (options->slot, c->slot))
        continue;
      if (options->bench)
        bench_case (&kt, c, &probe);
      else
        run_case (&kt, c, options->few);
    }
}

static Device *
open_or_skip (const Options *options, const char *name)
{
  DeviceStatus status;
  Device *dev = device_open (name, options->n_threads, &status);
  if (!dev) {
    printf ("skipped: %s\n", status.message);
    exit (77);
  }
  return dev;
}

/* Opens AVX2 and gives it the slots of the AVX-512 sources, built with halves
 * for registers, so that their code runs on any machine with AVX2; with bf16,
 * that instruction is imitated too. */
static Device *
open_halves (const Options *options, bool bf16)
{
  Device *dev = open_or_skip (options, "cpu:avx2");
#ifdef HAVE_HALVES
  Cpu *cpu = dev->backend;
  cpu_init_simd_halves (&cpu->op);
  dev->has_bf16 = bf16;
  cpu->onednn = bf16 ? onednn_new () : NULL;
#endif
  snprintf (dev->name, sizeof dev->name, "avx512's code%s on halves",
      bf16 ? " with bf16" : "");
  return dev;
}

static Device *
open_named (const Options *options, const char *name)
{
  if (!strncmp (name, "cpu:halves", 10))
    return open_halves (options, !strcmp (name, "cpu:halves-bf16"));
  return open_or_skip (options, name);
}

static void
test_device (const Options *options, const char *name)
{
  Device *dev = open_named (options, name), *plain = NULL;
  printf ("# %s\n", dev->name);
  if (!options->bench && strcmp (name, "cpu:plain"))
    plain = device_open ("cpu:plain", options->n_threads, NULL);
  if (!options->bench)
    check_slots (dev);
  run_all (options, dev, plain);
  device_close (plain);
  device_close (dev);
}

static void
test_levels (const Options *options)
{
  bool has_bf16;
  for (int level = 0; level <= (int) cpu_level_probe (&has_bf16); level++) {
    char name[32];
    snprintf (name, sizeof name, "cpu:%s", cpu_level_name (level));
    test_device (options, name);
    if (level == CPU_LEVEL_AVX2) {
      test_device (options, "cpu:halves");
      test_device (options, "cpu:halves-bf16");
    }
  }
}

static Options
parse_options (int argc, char **argv)
{
  Options options = { .n_threads = 0 };
  for (int i = 1; i < argc; i++) {
    if (!strcmp (argv[i], "--bench"))
      options.bench = true;
    else if (!strcmp (argv[i], "--few"))
      options.few = true;
    else if (i + 1 < argc && !strcmp (argv[i], "--device"))
      options.device = argv[++i];
    else if (i + 1 < argc && !strcmp (argv[i], "--slot"))
      options.slot = argv[++i];
    else if (i + 1 < argc && !strcmp (argv[i], "--threads"))
      options.n_threads = atoi (argv[++i]);
    else {
      fprintf (stderr, "usage: kernels [--device NAME] [--slot NAME] "
                       "[--threads N] [--few] [--bench]\n");
      exit (2);
    }
  }
  if (!options.n_threads && !options.bench)
    options.n_threads = 3; /* odd, and more than some loops have work for */
  return options;
}

int
main (int argc, char **argv)
{
  Options options = parse_options (argc, argv);
  if (options.device || options.bench)
    test_device (&options, options.device ? options.device : "cpu");
  else
    test_levels (&options);
  if (!options.bench)
    printf ("%d passed, %d failed\n", n_passed, n_failed);
  return n_failed > 0;
}
