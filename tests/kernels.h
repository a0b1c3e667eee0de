/* kernels.h - what the cases of the kernel tests are written with
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A case asks two questions with one body: is the op right, how fast is it.
 * It fills inputs, says how much work a call is, calls the op inside KT_EACH
 * and compares:
 *
 *   KtBuf x = kt_residual (kt, kt_values (kt, n * d), n * d);
 *   KtBuf y = kt_acts (kt, NULL, n * d);
 *   kt_work (kt, bytes, flops);
 *   KT_EACH (kt, dev, on)
 *     dev->op->rms_norm (dev, y.on[on], x.on[on], ...);
 *   kt_expect (kt, &y, want, n, d, tolerance);
 *
 * When plain C is under test, `want` comes from a twin in double precision;
 * for any other device plain C runs beside it and is what it must agree with.
 * Buffers are guarded, and all memory belongs to the run of the case.
 */
#pragma once

#include "kernels/ops.h"

/* What kt_values fills its array with. */
typedef enum KtFill {
  KT_UNIFORM, /* -1 .. 1 */
  KT_ZERO,
  KT_LARGE,   /* -1000 .. 1000 */
  KT_ONE_HOT, /* zeros and a single 8 */
  KT_NAN,     /* uniform with one NaN */
  KT_N_FILLS,
} KtFill;

#define KT_N_SIZES 8
#define KT_N_BENCHES 9
#define KT_MOST_SIZES 28

typedef struct Kt Kt;

/* One slot's case. Each row of `sizes` is one run (the meaning of the numbers
 * is the case's), with every fill if `fills`; `benches` rows are timed. A row
 * that begins with 0 ends its list. */
typedef struct KtCase {
  const char *slot;
  size_t offset; /* of the slot in Ops */
  void (*run) (Kt *kt, const int *size);
  bool fills;
  int sizes[KT_MOST_SIZES][KT_N_SIZES];
  int benches[KT_N_BENCHES][KT_N_SIZES];
} KtCase;

#define KT_SLOT(name) #name, offsetof(Ops, name)

/* A file's cases; a NULL slot ends the list. */
extern const KtCase kt_cases_memory[];
extern const KtCase kt_cases_matmul[];
extern const KtCase kt_cases_norm[];
extern const KtCase kt_cases_elementwise[];
extern const KtCase kt_cases_merge[];
extern const KtCase kt_cases_attention[];
extern const KtCase kt_cases_listed[];
extern const KtCase kt_cases_share[];
extern const KtCase kt_cases_choice[];
extern const KtCase kt_cases_rope[];
extern const KtCase kt_cases_sample[];
extern const KtCase kt_cases_image[];
extern const KtCase kt_cases_onednn[]; /* of no slot: beyond the end of Ops */

/* The same array on each device of a run. */
typedef struct KtBuf {
  void *on[2];
  size_t count;
  bool acts; /* activations, else bytes as they are */
} KtBuf;

typedef struct KtMat {
  Mat on[2];
} KtMat;

/* Device under test first. With one device it is plain C, or a bench. */
int kt_n_devices (const Kt *kt);
Device *kt_device (const Kt *kt, int on);
bool kt_timing (const Kt *kt);
KtFill kt_fill (const Kt *kt);

/* Host arrays, freed after the run. */
void *kt_bytes (Kt *kt, size_t bytes);
float *kt_values (Kt *kt, size_t count);               /* as the fill says */
float *kt_uniform (Kt *kt, size_t count, float scale); /* -scale .. scale */
int kt_below (Kt *kt, int bound);                      /* 0 .. bound-1 */

/* Device arrays between guard words; src NULL leaves a pattern in them. */
KtBuf kt_acts (Kt *kt, const float *src, size_t count);
KtBuf kt_array (Kt *kt, const void *src, size_t bytes);
KtBuf kt_residual (Kt *kt, const float *src, size_t count);
/* W[rows,cols] made of f32 values on every device. */
KtMat *kt_mat (Kt *kt, DataType want, DataType src_type, const float *src,
    int rows, int cols, const float *bias);
/* The values of src after a round trip through `type`. */
float *kt_rounded (Kt *kt, DataType type, const float *src, size_t count);
/* What activations and weights of the device under test can hold of src. */
const float *kt_held (Kt *kt, const float *src, size_t count);

/* Work of one call: bytes it must move, operations it must do. */
void kt_work (Kt *kt, double bytes, double flops);

/* Runs its body once per device, or again and again on the first for timing;
 * inside, `dev` and `on` name the device. */
#define KT_EACH(kt, dev, index)                                                \
  for (int index = -1; (index = kt_next (kt, index)) >= 0;)                    \
    for (Device *dev = kt_device (kt, index); dev; dev = NULL)
int kt_next (Kt *kt, int previous);

/* Host copy of a buffer, as f32 if activations. */
float *kt_read (Kt *kt, const KtBuf *buf, int on);

/* Each row's squared error over squared norm must be at most tolerance^2, NaN
 * must meet NaN. want may be NULL if there are two devices. */
void kt_expect (Kt *kt, const KtBuf *got, const double *want, int rows,
    int cols, double tolerance);
/* Bit for bit; `want` as above, in the buffer's own type. */
void kt_expect_same (Kt *kt, const KtBuf *got, const void *want);
void kt_fail (Kt *kt, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
