/* kernels-attention.c - cases of encoder attention and HiRED's score
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels-attention.h"

#include <math.h>
#include <string.h>

void
attend_twin (double *y, double *p, const float *q, const float *k,
    const float *v, int n_keys, int stride, int c, double scale)
{
  double largest = -INFINITY, sum = 0;
  for (int j = 0; j < n_keys; j++) {
    p[j] = 0;
    for (int i = 0; i < c; i++)
      p[j] += scale * q[i] * k[(size_t) j * stride + i];
    largest = fmax (largest, p[j]);
  }
  for (int j = 0; j < n_keys; j++)
    sum += p[j] = exp (p[j] - largest);
  for (int j = 0; j < n_keys; j++)
    p[j] /= sum;
  for (int i = 0; y && i < c; i++) {
    y[i] = 0;
    for (int j = 0; j < n_keys; j++)
      y[i] += p[j] * v[(size_t) j * stride + i];
  }
}

/* Rows per tile: all keys, one, none, a few. */
static int
rows_of_tile (int tile, int n_keys, bool whole)
{
  int few = n_keys < 11 ? n_keys : 11;
  int rows[4] = { n_keys, 1, 0, few };
  return whole ? n_keys : rows[tile % 4];
}

static void
attention_tiles (Kt *kt, const int *size)
{
  int t = size[0], n_keys = size[1], h = size[2], c = size[3], d = h * c;
  int *q_start = kt_bytes (kt, sizeof *q_start * (t + 1));
  for (int i = 0; i < t; i++)
    q_start[i + 1] = q_start[i] + rows_of_tile (i, n_keys, kt_timing (kt));
  int n_q = q_start[t];
  size_t n_kv = (size_t) t * n_keys * d;
  const float *q = kt_uniform (kt, (size_t) n_q * d, 1);
  const float *k = kt_values (kt, n_kv), *v = kt_uniform (kt, n_kv, 1);
  float scale = 1 / sqrtf (c);
  KtBuf Q = kt_acts (kt, q, (size_t) n_q * d), K = kt_acts (kt, k, n_kv),
        V = kt_acts (kt, v, n_kv), Y = kt_acts (kt, NULL, (size_t) n_q * d),
        S = kt_array (kt, q_start, sizeof *q_start * (t + 1));
  kt_work (kt, 8.0 * n_kv, 4.0 * n_q * n_keys * d);
  KT_EACH (kt, dev, on)
  dev->op->attention_tiles (dev, Y.on[on], Q.on[on], K.on[on], V.on[on],
      S.on[on], n_q, t, n_keys, h, c, scale);
  double *want = kt_bytes (kt, sizeof *want * n_q * d);
  double *p = kt_bytes (kt, sizeof *p * n_keys);
  for (int tile = 0; tile < t && kt_n_devices (kt) == 1; tile++)
    for (int i = q_start[tile] * h; i < q_start[tile + 1] * h; i++) {
      size_t at = (size_t) tile * n_keys * d + i % h * c;
      if (!kt_timing (kt))
        attend_twin (
            want + i * c, p, q + i * c, k + at, v + at, n_keys, d, c, scale);
    }
  kt_expect (kt, &Y, want, n_q * h, c, ATTENTION_TOLERANCE (kt));
}

static void
cls_attention (Kt *kt, const int *size)
{
  int t = size[0], N = size[1], h = size[2], c = size[3], d = h * c;
  size_t n_k = (size_t) t * (N + 1) * d;
  const float *q = kt_uniform (kt, (size_t) t * d, 1);
  const float *k = kt_values (kt, n_k);
  float scale = 1 / sqrtf (c);
  KtBuf Q = kt_residual (kt, q, (size_t) t * d), K = kt_residual (kt, k, n_k),
        S = kt_array (kt, NULL, sizeof (float) * t * N);
  kt_work (kt, 4.0 * n_k, 2.0 * n_k);
  KT_EACH (kt, dev, on)
  dev->op->cls_attention (dev, S.on[on], Q.on[on], K.on[on], t, N, h, c, scale);
  double *want = kt_bytes (kt, sizeof *want * t * N);
  double *p = kt_bytes (kt, sizeof *p * (N + 1));
  for (int i = 0; i < t * h; i++) {
    int tile = i / h, head = i % h;
    attend_twin (NULL, p, q + i * c, k + (size_t) tile * (N + 1) * d + head * c,
        NULL, N + 1, d, c, scale);
    for (int j = 0; j < N; j++)
      want[tile * N + j] += p[1 + j];
  }
  kt_expect (kt, &S, want, t, N, ATTENTION_TOLERANCE (kt));
}

const KtCase kt_cases_attention[] = {
  { KT_SLOT (attention_tiles), attention_tiles, true,
      .sizes = { { 1, 1, 1, 1 }, { 4, 17, 2, 32 }, { 3, 65, 3, 24 },
          { 1, 577, 2, 64 }, { 5, 40, 1, 7 }, { 1, 130, 1, 128 },
          { 4, 70, 2, 8 }, { 4, 70, 2, 20 }, { 4, 70, 2, 40 }, { 4, 70, 2, 48 },
          { 4, 70, 2, 72 }, { 4, 70, 2, 80 }, { 4, 70, 2, 88 },
          { 4, 70, 2, 104 }, { 4, 70, 2, 120 }, { 4, 70, 2, 160 },
          { 2, 70, 1, 256 } },
      .benches = { { 1, 577, 16, 64 }, { 5, 577, 16, 64 }, { 5, 65, 4, 64 } } },
  { KT_SLOT (cls_attention), cls_attention, true,
      .sizes = { { 1, 1, 1, 1 }, { 4, 16, 2, 32 }, { 3, 64, 3, 24 },
          { 2, 576, 2, 64 }, { 2, 33, 1, 7 }, { 2, 64, 2, 72 },
          { 2, 64, 2, 88 } },
      .benches = { { 5, 576, 16, 64 } } },
  { KT_SLOT (kv_write), kv_write_case, true,
      .sizes = { { 1, 1, 1 }, { 70, 2, 64 }, { 9, 3, 7 } },
      .benches = { { 600, 32, 128 }, { 8, 32, 128 } } },
  { KT_SLOT (attention_paged), attention_paged_case, true,
      .sizes = { { 1, 1, 1, 1, 1 }, { 3, 64, 4, 1, 32 }, { 5, 200, 4, 2, 64 },
          { 2, 130, 2, 2, 128, 50 }, { 3, 70, 6, 3, 24, 64 },
          { 1, 577, 2, 1, 80 }, { 3, 150, 2, 1, 7 }, { 3, 150, 4, 2, 8 },
          { 3, 150, 4, 2, 20 }, { 3, 150, 4, 2, 40 }, { 3, 150, 4, 2, 48 },
          { 3, 150, 4, 2, 72, 90 }, { 3, 150, 4, 2, 80 }, { 3, 150, 4, 2, 88 },
          { 3, 150, 4, 2, 104 }, { 3, 150, 4, 2, 120 }, { 3, 150, 4, 2, 160 },
          { 3, 150, 2, 1, 256, 90 }, { 1, 8300, 2, 1, 16, 0, 1 },
          { 2, 150, 2, 2, 64, 0, 1 }, { 2, 150, 2, 2, 70, 0, 1 },
          { 2, 150, 6, 2, 70, 90, 1 }, { 2, 150, 2, 2, 160, 0, 1 },
          { 2, 150, 7, 1, 128, 0, 1 }, { 2, 200, 14, 2, 160, 60, 1 },
          { 2, 70, 3, 1, 10, 0, 1 } },
      .benches = { { 1, 600, 32, 32, 128, 0, 600 },
          { 1, 600, 32, 32, 120, 0, 600 }, { 1, 2900, 32, 32, 120, 0, 1 },
          { 1, 2900, 32, 32, 128, 0, 1 }, { 8, 700, 32, 8, 128, 0, 1 },
          { 1, 2900, 32, 32, 128, 0, 512 } } },
  { KT_SLOT (key_attention), key_attention_case, true,
      .sizes = { { 1, 1, 1, 1, 1 }, { 3, 64, 4, 1, 32 }, { 4, 200, 4, 2, 64 },
          { 2, 130, 6, 3, 7 }, { 1, 577, 2, 2, 80 }, { 2, 130, 4, 2, 256 } },
      .benches = { { 1, 640, 32, 32, 128 }, { 1, 2900, 32, 8, 128 } } },
  { NULL },
};
