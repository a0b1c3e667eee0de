/* ops.h - every operation the networks are made of, one slot each
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A backend fills the table: plain C (kernels/cpu/, the reference), faster
 * variants over it, CUDA. Letters: n tokens, t tiles, d width, f hidden, h
 * heads, k key/value heads, c head width, v vocabulary, N patches of a tile.
 * Shapes stand in brackets, row-major. Unless said otherwise every pointer is
 * device memory, outputs do not alias inputs, sums accumulate in f32, and an
 * op allocates nothing that outlives it.
 * Compiles as C and as C++.
 */
#pragma once

#include "kernels/device.h"
#include "kernels/mat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An array of activations, what products multiply: float on the CPU, bf16 on
 * CUDA unless it was opened for f32; Device.act_bytes each. */
typedef void Act;

/* The residual stream: what layers read through a norm and add to. f32 on
 * every device, as each sum of many layers is rounded again. */
typedef float Residual;

static inline Act *
act_at (const Device *dev, const Act *x, size_t index)
{
  return (char *) x + index * dev->act_bytes;
}

/* What matmul does with p = W x + bias. */
typedef enum Epilogue {
  EPILOGUE_SET,        /* y = p */
  EPILOGUE_GELU,       /* y = p Phi(p), erf form */
  EPILOGUE_QUICK_GELU, /* y = p sigmoid(1.702 p) */
  /* Where y is f32, the residual stream or what swiglu and rope read: */
  EPILOGUE_WIDE, /* y = p */
  EPILOGUE_ADD,  /* y += p */
} Epilogue;

static inline bool
epilogue_is_wide (Epilogue epilogue)
{
  return epilogue >= EPILOGUE_WIDE;
}

/* Widest head that every backend attends with: c is at most that. */
#define MAX_HEAD_WIDTH 256

/* Keys and values a page holds. */
#define KV_PAGE_TOKENS 64

/* The paged cache of one decoder layer: n_pages pages of KV_PAGE_TOKENS
 * tokens, k heads, c wide. How a page is laid out inside is the backend's. */
typedef struct KvLayer {
  Act *k; /* n_pages * k * KV_PAGE_TOKENS * c */
  Act *v; /* the same */
  int n_pages;
} KvLayer;

/* One decoder step over tokens of several sequences, sequence after sequence
 * (a ragged batch). Tokens of sequence s are rows q_start[s] ..
 * q_start[s+1]-1; they are the last of its kv_len[s] tokens. */
typedef struct PagedBatch {
  int n; /* tokens in this step */
  int n_seqs;
  int max_kv_len;        /* no kv_len is larger; known on the host */
  int max_q_len;         /* most tokens of one sequence, on the host */
  const int *q_start;    /* [n_seqs+1] */
  const int *kv_len;     /* [n_seqs] cached tokens, this step's included */
  const int *page_start; /* [n_seqs+1] where its page list begins */
  const int *pages;      /* page ids, sequence after sequence */
  const int *slots;      /* [n] page * KV_PAGE_TOKENS + place, per token */
} PagedBatch;

/* What of the cache is chosen, and for whom. */
typedef enum KeyGroup {
  KEYS_OF_KV_HEAD,    /* keys, one list for all query heads of a key head */
  KEYS_OF_QUERY_HEAD, /* keys, a list for each query head */
  PAGES_OF_KV_HEAD,   /* whole pages, one list for a key head */
} KeyGroup;

/* A list of a sequence has the best n_most of its keys or pages (all, if it
 * has no more), the n_recent newest among them whatever their scores. */
typedef struct KeyChoice {
  KeyGroup group;
  int n_most;
  int n_recent; /* at most n_most */
} KeyChoice;

/* Patches y0 <= y < y1, x0 <= x < x1 of a tile. */
typedef struct PatchRect {
  int y0, y1, x0, x1;
} PatchRect;

/* A tile whose patches are chosen. Tile 0 is the whole picture, number 1 +
 * r*across + c lies in row r and column c of a canvas of tiles. */
typedef struct PatchTile {
  int number;
  PatchRect used; /* that may be */
  PatchRect area; /* of tile 0: what it shows of this one; for shares */
  int n;          /* that are */
  int first;      /* where they are listed */
} PatchTile;

/* Most tiles that patches are shared among. */
#define SHARE_MAX_TILES 64

/* How logits become an id; neutral values in brackets. */
typedef struct SampleParams {
  float repetition_penalty; /* [1] */
  float temperature;        /* [0] = greedy: the first largest logit */
  int top_k;                /* [0] = all */
  float top_p;              /* [1] */
  float draw;               /* uniform in [0,1), used if temperature > 0 */
  const int *seen;          /* distinct ids the penalty applies to */
  int n_seen;
} SampleParams;

/* One axis of a separable 8-bit resize: output i is the sum over taps
 * first[i] .. first[i]+n_taps[i]-1 of pixel * weight, as fixed point. */
typedef struct ResizeAxis {
  int n_in, n_out;
  int max_taps;
  const int *first;      /* [n_out] */
  const int *n_taps;     /* [n_out] */
  const int32_t *weight; /* [n_out,max_taps], zero past n_taps */
  int precision;         /* fractional bits */
  int narrow;            /* all weights fit int16 (torchvision's variant) */
} ResizeAxis;

/* Where the samples of one component lie in a picture. */
typedef struct PixelPart {
  int plane;  /* 0..2 */
  int offset; /* bytes from the beginning of the plane's rows */
  int step;   /* bytes from sample to sample */
} PixelPart;

/* Fractional bits of Pixels.matrix. */
#define PIXELS_PRECISION 20

/* A picture as video has it: R, G and B or Y, U and V in up to three planes.
 * Of U and V there may be one for two pixels of a row or column: pixel x of
 * the planes then has sample i = x / 2 and near[x % 2] quarters of its other
 * neighbour, i - 1 if x is even, else i + 1 (the nearest that there is). */
typedef struct Pixels {
  const uint8_t *plane[3];
  size_t stride[3]; /* bytes from row to row */
  PixelPart part[3];
  int width, height;    /* of the picture */
  int skip_x, skip_y;   /* pixels of the planes left of it and above */
  int bytes;            /* of a sample: 1, or 2, little-endian */
  int shift_x, shift_y; /* 1: of U and V there are half as many */
  int near_x[2], near_y[2];
  bool is_rgb;          /* the samples are what is wanted; else */
  int32_t matrix[3][4]; /* R = m[0] (part 0, part 1, part 2, 1), and so on */
} Pixels;

/* A canvas of one colour with a picture on it. */
typedef struct RgbCanvas {
  int width, height;
  int left, top; /* of the picture */
  uint8_t colour[3];
} RgbCanvas;

/* One of several products of the same x. */
typedef struct MatProduct {
  void *y;
  const Mat *w;
  Epilogue epilogue;
} MatProduct;

#define MAX_PRODUCTS 3

typedef struct Ops {
  /* ---- memory: see device.h, whose functions call these ---- */
  void *(*alloc) (Device *dev, size_t bytes);
  void (*free) (Device *dev, void *ptr);
  size_t (*memory_free) (Device *dev);
  void (*upload) (Device *dev, void *dst, const void *src, size_t bytes);
  void (*download) (Device *dev, void *dst, const void *src, size_t bytes);
  void *(*host_alloc) (Device *dev, size_t bytes);
  void (*host_free) (Device *dev, void *ptr);
  void (*fetch) (Device *dev, void *dst, const void *src, size_t bytes);
  void (*mark) (Device *dev, int mark);
  double (*marked_us) (Device *dev, int from, int to);
  /* From device memory, be it of another context or GPU. */
  void (*copy) (Device *dev, void *dst, const void *src, size_t bytes);
  void (*sync) (Device *dev);
  void (*close) (Device *dev);

  /* ---- recording: see device.h ---- */
  bool (*replay) (Device *dev, const DeviceKey *key);
  void (*record) (Device *dev, const DeviceKey *key);
  void (*recorded) (Device *dev, bool all);
  void (*forget) (Device *dev, const void *owner);

  /* ---- matmul ---- */

  /* Makes W[rows,cols] from host memory src (src_type), rounded to `want` and
   * stored so, or in the activations' type on CUDA, where both factors of a
   * product are alike; with bias[rows] (host f32) or NULL. src may be used in
   * place and must outlive the Mat. On failure the Mat is empty and the device
   * has the reason. */
  void (*mat_init) (Device *dev, Mat *w, DataType want, const void *src,
      DataType src_type, int rows, int cols, const float *bias);
  void (*mat_clear) (Device *dev, Mat *w);

  /* Bytes of device memory that mat_init takes for such a matrix. */
  size_t (*mat_bytes) (
      Device *dev, DataType want, DataType src_type, int rows, int cols);

  /* y[n,rows] from x[n,cols]. y is Act, or f32 if the epilogue says so. */
  void (*matmul) (Device *dev, void *y, const Act *x, const Mat *w, int n,
      Epilogue epilogue);

  /* The same of several products of one x, which may run beside each other:
   * none writes what another reads or writes. Their epilogues are SET and
   * WIDE. */
  void (*matmul_several) (
      Device *dev, const MatProduct *products, int count, const Act *x, int n);

  /* y[n,rows] = silu (x gate^T) * (x up^T), the sums rounded once: the first
   * half of a decoder's MLP. Both matrices are [rows,cols]; work[2,n,rows] is
   * overwritten. */
  void (*gated) (Device *dev, Act *y, const Act *x, const Mat *gate,
      const Mat *up, int n, float *work);

  /* y[n,rows] = x[n,cols] W^T in f32: the language model's head, of few rows,
   * whose x need not be narrowed. */
  void (*logits) (
      Device *dev, float *y, const Residual *x, const Mat *w, int n);

  /* ---- norm ---- */

  /* y = (x - mean) / sqrt(var + eps) * w + b, biased variance. */
  void (*layer_norm) (Device *dev, Act *y, const Residual *x, const float *w,
      const float *b, int n, int d, float eps);

  /* The same in place: the norm that an encoder's stream begins with. */
  void (*layer_norm_residual) (Device *dev, Residual *x, const float *w,
      const float *b, int n, int d, float eps);

  /* y = x / sqrt(mean(x^2) + eps) * w. (Zhang, Sennrich 2019) */
  void (*rms_norm) (Device *dev, Act *y, const Residual *x, const float *w,
      int n, int d, float eps);

  /* The same in place: the norm that a decoder's stream ends with. */
  void (*rms_norm_residual) (
      Device *dev, Residual *x, const float *w, int n, int d, float eps);

  /* ---- elementwise ---- */

  /* y[i] = table[ids[i]], i < n; ids are valid rows. */
  void (*embed) (
      Device *dev, Residual *y, const Mat *table, const int *ids, int n);

  /* Rows of anything, `bytes` each, a multiple of an activation's:
   * y[i] = x[rows[i]], i < n. */
  void (*gather_rows) (Device *dev, void *y, const void *x, const int *rows,
      int n, size_t bytes);

  /* y[rows[i]] = x[i], i < n; rows are distinct. */
  void (*scatter_rows) (Device *dev, void *y, const void *x, const int *rows,
      int n, size_t bytes);

  /* y[rows[i]] = x[0], i < n: the newline vector. */
  void (*fill_rows) (Device *dev, void *y, const void *x, const int *rows,
      int n, size_t bytes);

  /* Bytes at .. at+bytes-1 of row i of y, rows being stride apart, = x[i],
   * i < n: features of several layers side by side. */
  void (*copy_columns) (Device *dev, void *y, const void *x, int n,
      size_t bytes, size_t stride, size_t at);

  /* y[i] = x[i], n rows of bytes; changed[i]: 1 if y[i] was anything else
   * before, or 0. */
  void (*replace_rows) (
      Device *dev, int *changed, void *y, const void *x, int n, size_t bytes);

  /* y[i,:] = x[rows[i],:] as activations, i < n; rows 0, 1, ... if NULL. */
  void (*narrow_rows) (
      Device *dev, Act *y, const Residual *x, const int *rows, int n, int d);

  /* y[i] = silu(gate[i]) * up[i] over count values: the sums of two products,
   * rounded once. */
  void (*swiglu) (
      Device *dev, Act *y, const float *gate, const float *up, size_t count);

  /* x[t,N+1,d]: row 0 = cls + pos[0], row 1+j = patch[t,j] + pos[1+j]. patch,
   * the sums of a product, cls[d] and pos[N+1,d] are f32. */
  void (*embed_patches) (Device *dev, Residual *x, const float *patch,
      const float *cls, const float *pos, int t, int N, int d);

  /* ---- merge: what policies that merge tokens need ---- */

  /* y[i,:] = sum of weight[e] x[rows[e],:] over start[i] <= e < start[i+1],
   * i < n, in the order of e; zeros where there is none. start[n+1], rows and
   * weight (f32) are device arrays. */
  void (*merge_rows) (Device *dev, Act *y, const Residual *x, const int *start,
      const int *rows, const float *weight, int n, int d);

  /* y[n,c] = mean of x[n,h*c] over its h heads, f32: the metric that VisionZip
   * and ToMe compare tokens by. */
  void (*mean_heads) (Device *dev, float *y, const Act *x, int n, int h, int c);

  /* y[n,n] = cosines between the rows of x[n,d], f32 and symmetric; 0 with a
   * row of zeros. */
  void (*cosines) (Device *dev, float *y, const Act *x, int n, int d);

  /* y[t,side*side,4] = cosines, f32, of patch j with those beside and below it:
   * right; below, one to the left; below; below, one to the right. 0 where
   * there is none, or with a row of zeros. Patch j of tile i is row
   * i*(side*side+1) + 1 + j of x[.,d]. */
  void (*near_cosines) (
      Device *dev, float *y, const Act *x, int t, int side, int d);

  /* ---- attention ---- */

  /* Encoder: each tile's queries see all n_keys keys of that tile. q rows
   * q_start[i] .. q_start[i+1]-1 (device, [t+1]) belong to tile i; n_q rows in
   * all. q, y [n_q,h*c]; k, v [t,n_keys,h*c]; softmax(scale q k^T) v. */
  void (*attention_tiles) (Device *dev, Act *y, const Act *q, const Act *k,
      const Act *v, const int *q_start, int n_q, int t, int n_keys, int h,
      int c, float scale);

  /* HiRED's score: q[t,h*c] is the class token's query, k[t,N+1,h*c] with
   * the class token's key first, the sums of products. score[t,N] = softmax over
   * all N+1 keys per head, summed over heads in ascending order, class column
   * dropped. All f32. */
  void (*cls_attention) (Device *dev, float *score, const float *q,
      const float *k, int t, int N, int h, int c, float scale);

  /* Writes this step's keys and values at batch->slots: k[n,k*c], the sums of
   * a product, rotated by table[n,c] as rope does and rounded once, or as they
   * are if it is NULL; v[n,k*c]. */
  void (*kv_write) (Device *dev, const KvLayer *kv, const float *k,
      const float *table, const Act *v, const PagedBatch *batch, int n_kv_heads,
      int c);

  /* Causal attention over the cache; query head i reads key head i / (h/k).
   * q, y [n,h*c]. window > 0: key j is seen by the query at position p iff
   * p - window < j <= p. */
  void (*attention_paged) (Device *dev, Act *y, const Act *q, const KvLayer *kv,
      const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
      int window);

  /* How much one query of each sequence attends to a run of its keys, first[s]
   * (device) .. first[s]+count-1: softmax over all its keys per head, summed
   * over heads in ascending order. Each sequence has one token in the batch;
   * q[n_seqs,h*c], score[n_seqs,count] f32. (FlexAttention's selector) */
  void (*key_attention) (Device *dev, float *score, const Act *q,
      const KvLayer *kv, const PagedBatch *batch, const int *first, int count,
      int h, int n_kv_heads, int c, float scale);

  /* ---- attention to chosen keys (TidalDecode, Yang et al. 2024) ----
   *
   * Scores and lists are tables that the ops share: a sequence of P pages has
   * [h,P*KV_PAGE_TOKENS] of them, page_start[s]*KV_PAGE_TOKENS*h from the
   * beginning. Row i is query head i's; where a key head has one list, the
   * row of the first of its query heads has it and the others are working
   * memory. Every sequence has at most one token in the batch; one that has
   * none is passed over. */

  /* What the keys or pages of every list are ranked by. A query head's list:
   * scale q.K. A key head's: the same if it has one query head, else the sum
   * over its query heads of softmax(scale q.K), in ascending order. A page:
   * the sum over query heads and the page's keys of the softmax. Keys outside
   * the window (as in attention_paged) and pages of nothing else have minus
   * infinity. */
  void (*key_scores) (Device *dev, float *score, const Act *q,
      const KvLayer *kv, const PagedBatch *batch, KeyGroup group, int h,
      int n_kv_heads, int c, float scale, int window);

  /* The lists: positions (or, of pages, places in the sequence's page list)
   * in ascending order. The highest scores win, of equal ones the lowest
   * positions; NaN is above everything. Exact: equal scores give equal lists
   * on every device. */
  void (*choose_keys) (Device *dev, int *lists, const float *score,
      const PagedBatch *batch, const KeyChoice *choice, int h, int n_kv_heads);

  /* attention_paged over the listed keys that are in the window only; zeros
   * where there are none. */
  void (*attention_listed) (Device *dev, Act *y, const Act *q,
      const KvLayer *kv, const PagedBatch *batch, const int *lists,
      const KeyChoice *choice, int h, int n_kv_heads, int c, float scale,
      int window);

  /* ---- choice of patches: what HiRED keeps ----
   *
   * Rows are those of t tiles' states, side*side+1 to a tile, the class token
   * first: row i*(side*side+1) + 1 + j is patch j of tile i. tiles[t] is a
   * device array, numbers ascending and lists one after another. What lies
   * before the first list, class tokens, stays what and where it is. */

  /* Shares n patches among the tiles numbered 1 and up, in proportion to the
   * attention score[side*side] that the class token of tile 0 pays to their
   * areas, by the rule of kernels/share.h, none above its rectangle. Sets their
   * n and first, tile 0's n and the first list's place being given, and
   * start[i+1], where the list of tile i ends. sum[i]: what its area holds (of
   * tile 0: 0); if one is no weight, all count as 0. t <= SHARE_MAX_TILES. */
  void (*share_patches) (Device *dev, PatchTile *tiles, int *start, double *sum,
      const float *score, int t, int side, int n);

  /* rows: each tile's n patches of highest score[t,side*side] in its rectangle,
   * in ascending order; of equal scores the lowest patches, as
   * kernels/choice.h has it. bad[i]: the first patch of the rectangle whose
   * score is not a number, -1 if there is none or n is 0; the rows are n of
   * the rectangle all the same. */
  void (*choose_patches) (Device *dev, int *rows, int *bad, const float *score,
      const PatchTile *tiles, int t, int side);

  /* The order in which chosen rows are packed: tile 0's, then those of the
   * canvas, `across` tiles wide, one row of patches after another. Place p of
   * the sequence has sequence[p] = rows[from[p]]. */
  void (*pack_patches) (Device *dev, int *sequence, int *from, const int *rows,
      const PatchTile *tiles, int t, int side, int across);

  /* ---- rope ---- */

  /* table[n,c]: cos (first c/2) and sin of pos[i] * inv_freq[c/2], product
   * in f32, both times scale (YaRN's attention factor, else 1). */
  void (*rope_table) (Device *dev, float *table, const int *pos,
      const float *inv_freq, int n, int c, float scale);

  /* y[n,h*c] = x[n,h*c], the sums of a product, rotated and rounded once;
   * halves paired: (i, i + c/2). (Su 2021) */
  void (*rope) (Device *dev, Act *y, const float *x, const float *table, int n,
      int h, int c);

  /* ---- sample ---- */

  /* *id (device) from logits[v], which is overwritten. Order of processing as
   * transformers: repetition penalty, temperature, top-k, top-p, draw. A draw
   * never takes what is not a number; if the largest is infinite, it takes the
   * first of these. */
  void (*sample) (
      Device *dev, int *id, float *logits, int v, const SampleParams *params);

  /* ---- image ---- */

  /* The picture as 8-bit RGB on a canvas that it lies within, dst[canvas
   * height, canvas width, 3]. Its planes are device memory. U and V are
   * blended along the row, then down the column, each time rounded; the
   * matrix's sums are rounded and clamped. Integers: exact on any backend. */
  void (*to_rgb) (
      Device *dev, uint8_t *dst, const Pixels *src, const RgbCanvas *canvas);

  /* One pass of a separable resize over interleaved 8-bit RGB, fixed point
   * with rounding, clamped to 0..255. src has n rows (src_stride bytes apart)
   * of axis->n_in pixels; dst [n,n_out,3]. Integers: exact on any backend. */
  void (*resize_rows) (Device *dev, uint8_t *dst, const uint8_t *src,
      size_t src_stride, int n, const ResizeAxis *axis);

  /* The same down the columns: src has axis->n_in rows of width pixels, dst
   * [n_out,width,3]. */
  void (*resize_columns) (Device *dev, uint8_t *dst, const uint8_t *src,
      size_t src_stride, int width, const ResizeAxis *axis);

  /* Tiles to the patch embedding's input: y[t*g*g, 3*p*p], g = side / p, each
   * patch in (channel, y, x) order; tiles[t,side,side,3] 8-bit RGB;
   * lut[3,256] normalises a byte of a channel. */
  void (*patches) (Device *dev, Act *y, const uint8_t *tiles, const float *lut,
      int t, int side, int p);

  /* The same of one tile that is seen from z times further away: the z*z tiles
   * [z*z,side,side,3] of a square, row by row, normalised, then shrunk z times
   * by an antialiased bilinear filter. y[g*g,3*p*p]. Along an axis output i is
   * the mean of inputs z*i+d, weighted by 2z - |2d+1-z| where that is
   * positive; inputs outside do not count. Source: torch's interpolate. */
  void (*shrunk_patches) (Device *dev, Act *y, const uint8_t *tiles,
      const float *lut, int z, int side, int p);
} Ops;

#ifdef __cplusplus
}
#endif
