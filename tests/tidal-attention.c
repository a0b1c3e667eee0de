/* tidal-attention.c - chosen keys against the published rule, and a needle
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The rule is that of the authors' evaluation code (patched transformers'
 * modeling_llama.py), written down again: in layers below the selection layer
 * attention is dense; the selection layer and the re-selection layer are dense
 * and note, for every query head, the largest scores' positions; all others
 * attend to the positions noted last.
 */
#include "tests/tidal.h"

#include <math.h>
#include <string.h>

/* One sequence's layer, in the cache and on the host. */
typedef struct {
  Device *dev;
  int h, k, c, n_pages;
  KvLayer kv;
  float *scores;
  int *lists, *pages, *slots;
  float *K, *V; /* [most,k*c] */
  int n;        /* keys */
} Layer;

static float
normal (GRand *rand, float scale)
{
  double u = 1 - g_rand_double (rand), v = g_rand_double (rand);

  return scale * sqrt (-2 * log (u)) * cos (2 * G_PI * v);
}

/* As many as matter, and then those again: no two keys are alike, for 8191 is
 * a prime. */
static void
fill (GRand *rand, float *x, gsize n, float scale)
{
  for (gsize i = 0; i < n; i++)
    x[i] = i < 8191 ? normal (rand, scale) : x[i - 8191];
}

static void
layer_init (Layer *l, Device *dev, int most, int h, int k, int c)
{
  int n_pages = (most + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  gsize values = (gsize) n_pages * KV_PAGE_TOKENS * k * c;

  *l = (Layer){ .dev = dev, .h = h, .k = k, .c = c, .n_pages = n_pages };
  l->kv = (KvLayer){ device_alloc (dev, values * sizeof (float)),
    device_alloc (dev, values * sizeof (float)), n_pages };
  l->scores = g_new (float, (gsize) h *n_pages *KV_PAGE_TOKENS);
  l->lists = g_new (int, (gsize) h *n_pages *KV_PAGE_TOKENS);
  l->pages = g_new (int, n_pages);
  l->slots = g_new (int, most);
  l->K = g_new0 (float, (gsize) most *k *c);
  l->V = g_new0 (float, (gsize) most *k *c);
  for (int i = 0; i < n_pages; i++)
    l->pages[i] = n_pages - 1 - i;
  for (int i = 0; i < most; i++)
    l->slots[i] =
        l->pages[i / KV_PAGE_TOKENS] * KV_PAGE_TOKENS + i % KV_PAGE_TOKENS;
}

static void
layer_clear (Layer *l)
{
  device_free (l->dev, l->kv.k);
  device_free (l->dev, l->kv.v);
  g_free (l->scores);
  g_free (l->lists);
  g_free (l->pages);
  g_free (l->slots);
  g_free (l->K);
  g_free (l->V);
}

typedef struct {
  int q_start[2], kv_len[1], page_start[2];
  PagedBatch batch;
} Batch;

static const PagedBatch *
batch_of (Batch *b, const Layer *l, int first, int n)
{
  *b = (Batch){ { 0, n }, { first + n }, { 0, l->n_pages }, { 0 } };
  b->batch = (PagedBatch){ n, 1, first + n, n, b->q_start, b->kv_len,
    b->page_start, l->pages, l->slots + first };
  return &b->batch;
}

/* Keys first .. first+n-1 of the host go into the cache. */
static void
write_keys (Layer *l, int first, int n)
{
  Batch b;
  gsize at = (gsize) first * l->k * l->c;

  l->dev->op->kv_write (l->dev, &l->kv, l->K + at, NULL, l->V + at,
      batch_of (&b, l, first, n), l->k, l->c);
  l->n = first + n;
}

static float
scale_of (const Layer *l)
{
  return 1 / sqrtf (l->c);
}

static void
attend_all (Layer *l, float *y, const float *q)
{
  Batch b;

  l->dev->op->attention_paged (l->dev, y, q, &l->kv,
      batch_of (&b, l, l->n - 1, 1), l->h, l->k, l->c, scale_of (l), 0);
}

/* Notes the best keys in `lists`, which may be another layer's. */
static void
choose (Layer *l, int *lists, const float *q, const KeyChoice *choice)
{
  const Ops *op = l->dev->op;
  Batch b;
  const PagedBatch *batch = batch_of (&b, l, l->n - 1, 1);

  op->key_scores (l->dev, l->scores, q, &l->kv, batch, choice->group, l->h,
      l->k, l->c, scale_of (l), 0);
  op->choose_keys (l->dev, lists, l->scores, batch, choice, l->h, l->k);
}

static void
attend_listed (Layer *l, float *y, const float *q, const int *lists,
    const KeyChoice *choice)
{
  Batch b;

  l->dev->op->attention_listed (l->dev, y, q, &l->kv,
      batch_of (&b, l, l->n - 1, 1), lists, choice, l->h, l->k, l->c,
      scale_of (l), 0);
}

static const int *
list_of (const Layer *l, const int *lists, int head)
{
  return lists + (gsize) head * l->n_pages * KV_PAGE_TOKENS;
}

static gboolean
is_listed (const int *list, int n, int key)
{
  for (int i = 0; i < n; i++)
    if (list[i] == key)
      return TRUE;
  return FALSE;
}

/* ---- the published rule ---- */

#define LAYERS 6
#define SELECT 2
#define RESELECT 4
#define PREFILL 50
#define STEPS 4
#define HEADS 8
#define KV_HEADS 2
#define WIDTH 16
#define MOST (PREFILL + STEPS)

static void
reference_scores (double *s, const Layer *l, const float *q, int head)
{
  const float *keys = l->K + head / (HEADS / KV_HEADS) * WIDTH;

  for (int j = 0; j < l->n; j++) {
    s[j] = 0;
    for (int i = 0; i < WIDTH; i++)
      s[j] += (double) q[head * WIDTH + i] *
              keys[(gsize) j * KV_HEADS * WIDTH + i] / sqrt (WIDTH);
  }
}

/* keep[n]: the k largest. A cut that two scores share within 1e-6 would prove
 * nothing. */
static void
reference_choice (gboolean *keep, const double *s, int n, int k)
{
  memset (keep, 0, n * sizeof *keep);
  for (int i = 0; i < MIN (k, n); i++) {
    int best = -1;

    for (int j = 0; j < n; j++)
      if (!keep[j] && (best < 0 || s[j] > s[best]))
        best = j;
    for (int j = 0; j < n && i == k - 1; j++)
      g_assert_true (keep[j] || j == best || s[best] - s[j] > 1e-6);
    keep[best] = TRUE;
  }
}

static void
reference_output (
    double *y, const Layer *l, const double *s, const gboolean *keep, int head)
{
  const float *values = l->V + head / (HEADS / KV_HEADS) * WIDTH;
  double largest = -INFINITY, sum = 0;

  for (int j = 0; j < l->n; j++)
    if (!keep || keep[j])
      largest = MAX (largest, s[j]);
  memset (y, 0, WIDTH * sizeof *y);
  for (int j = 0; j < l->n; j++) {
    double p = !keep || keep[j] ? exp (s[j] - largest) : 0;

    sum += p;
    for (int i = 0; i < WIDTH; i++)
      y[i] += p * values[(gsize) j * KV_HEADS * WIDTH + i];
  }
  for (int i = 0; i < WIDTH; i++)
    y[i] /= sum;
}

/* One layer of one step, by the ops and by the rule. */
static void
check_layer (Layer *l, int *lists, gboolean keep[HEADS][MOST], const float *q,
    int layer, const KeyChoice *choice)
{
  gboolean selects = layer == SELECT || layer == RESELECT;
  gboolean sparse = layer > SELECT && !selects;
  float y[HEADS * WIDTH];

  if (sparse)
    attend_listed (l, y, q, lists, choice);
  else
    attend_all (l, y, q);
  if (selects)
    choose (l, lists, q, choice);
  for (int head = 0; head < HEADS; head++) {
    int n = MIN (choice->n_most, l->n);
    double s[MOST], want[WIDTH];

    reference_scores (s, l, q, head);
    if (selects)
      reference_choice (keep[head], s, l->n, choice->n_most);
    for (int i = 0; i < n && selects; i++)
      g_assert_true (keep[head][list_of (l, lists, head)[i]]);
    reference_output (want, l, s, sparse ? keep[head] : NULL, head);
    for (int i = 0; i < WIDTH; i++)
      g_assert_cmpfloat (fabs (y[head * WIDTH + i] - want[i]), <=, 1e-5);
  }
}

static void
test_reference (Device *dev, gconstpointer data)
{
  static const int budgets[] = { 1, 3, 17, 49, 60 };

  for (gsize b = 0; b < G_N_ELEMENTS (budgets); b++) {
    KeyChoice choice = { KEYS_OF_QUERY_HEAD, budgets[b], 0 };
    g_autoptr (GRand) rand = g_rand_new_with_seed (11 + b);
    gboolean keep[HEADS][MOST];
    Layer layers[LAYERS];

    for (int i = 0; i < LAYERS; i++) {
      layer_init (&layers[i], dev, MOST, HEADS, KV_HEADS, WIDTH);
      fill (rand, layers[i].K, MOST * KV_HEADS * WIDTH, 1);
      fill (rand, layers[i].V, MOST * KV_HEADS * WIDTH, 0.1);
      write_keys (&layers[i], 0, PREFILL);
    }
    for (int step = 0; step < STEPS; step++)
      for (int i = 0; i < LAYERS; i++) {
        float q[HEADS * WIDTH];

        fill (rand, q, HEADS * WIDTH, 1);
        write_keys (&layers[i], PREFILL + step, 1);
        check_layer (&layers[i], layers[0].lists, keep, q, i, &choice);
      }
    for (int i = 0; i < LAYERS; i++)
      layer_clear (&layers[i]);
  }
}

/* ---- a planted needle ---- */

#define N_KEYS 3000
#define NEEDLE_C 128
#define BETA 20 /* its scaled score; the largest other one is about 5 */

/* Key `at` of query head `head`'s key head answers its query alone. */
static void
plant (Layer *l, const float *q, int head, int at)
{
  int kv_head = head / (l->h / l->k), c = l->c;
  float *key = l->K + ((gsize) at * l->k + kv_head) * c, norm = 0;

  for (int i = 0; i < c; i++)
    norm += q[head * c + i] * q[head * c + i];
  for (int i = 0; i < c; i++)
    key[i] = q[head * c + i] * BETA * sqrtf (c) / norm;
}

static void
haystack (Layer *l, GRand *rand, float *q)
{
  gsize count = (gsize) N_KEYS * l->k * l->c;

  fill (rand, l->K, count, 1);
  fill (rand, l->V, count, 1);
  fill (rand, q, (gsize) l->h * l->c, 1);
}

/* Largest distance between a head's output and the value at `at`. */
static float
distance (const Layer *l, const float *y, int head, int at)
{
  const float *value = l->V + ((gsize) at * l->k + head / (l->h / l->k)) * l->c;
  float worst = 0;

  for (int i = 0; i < l->c; i++)
    worst = MAX (worst, fabsf (y[head * l->c + i] - value[i]));
  return worst;
}

static int
lowest_score (const Layer *l, int head)
{
  const float *s = l->scores + (gsize) head * l->n_pages * KV_PAGE_TOKENS;
  int lowest = 0;

  for (int j = 1; j < N_KEYS - 1; j++)
    if (s[j] < s[lowest])
      lowest = j;
  return lowest;
}

/* A selection layer finds it, a sparse layer finds it again in the same place
 * and does not see one elsewhere, until a re-selection layer has. */
static void
test_needle (Device *dev, gconstpointer data)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (20);
  float q[8 * NEEDLE_C], y[8 * NEEDLE_C];
  int p[8], decoy[8];
  g_autofree int *before = NULL;
  KeyChoice choice = { KEYS_OF_KV_HEAD, 64, 1 };
  Layer l;

  layer_init (&l, dev, N_KEYS, 8, 8, NEEDLE_C);
  haystack (&l, rand, q);
  for (int head = 0; head < 8; head++)
    plant (&l, q, head, p[head] = g_rand_int_range (rand, 0, N_KEYS - 1));
  write_keys (&l, 0, N_KEYS);
  attend_all (&l, y, q);
  choose (&l, l.lists, q, &choice);
  for (int head = 0; head < 8; head++) {
    g_assert_true (is_listed (list_of (&l, l.lists, head), 64, p[head]));
    g_assert_cmpfloat (distance (&l, y, head, p[head]), <, 1e-3);
    decoy[head] = lowest_score (&l, head);
  }

  haystack (&l, rand, q);
  for (int head = 0; head < 8; head++)
    plant (&l, q, head, p[head]);
  write_keys (&l, 0, N_KEYS);
  attend_listed (&l, y, q, l.lists, &choice);
  for (int head = 0; head < 8; head++)
    g_assert_cmpfloat (distance (&l, y, head, p[head]), <, 1e-3);

  haystack (&l, rand, q);
  for (int head = 0; head < 8; head++)
    plant (&l, q, head, decoy[head]);
  write_keys (&l, 0, N_KEYS);
  attend_all (&l, y, q);
  for (int head = 0; head < 8; head++)
    g_assert_cmpfloat (distance (&l, y, head, decoy[head]), <, 1e-3);
  attend_listed (&l, y, q, l.lists, &choice);
  for (int head = 0; head < 8; head++)
    g_assert_cmpfloat (distance (&l, y, head, decoy[head]), >, 1.5);

  before = g_memdup2 (l.lists, sizeof (int) * 8 * l.n_pages * KV_PAGE_TOKENS);
  choose (&l, l.lists, q, &choice);
  attend_listed (&l, y, q, l.lists, &choice);
  for (int head = 0; head < 8; head++) {
    g_assert_true (is_listed (list_of (&l, l.lists, head), 64, decoy[head]));
    g_assert_cmpfloat (distance (&l, y, head, decoy[head]), <, 1e-3);
    g_assert_true (memcmp (list_of (&l, l.lists, head),
                       list_of (&l, before, head), 64 * sizeof (int)) != 0);
  }
  layer_clear (&l);
}

/* What one query head of four needs is in their common list, or page. */
static void
test_needle_of_group (Device *dev, gconstpointer data)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (21);
  gboolean pages = GPOINTER_TO_INT (data);
  KeyChoice choice = { pages ? PAGES_OF_KV_HEAD : KEYS_OF_KV_HEAD,
    pages ? 2 : 64, 1 };
  float q[8 * NEEDLE_C], y[8 * NEEDLE_C];
  Layer l;

  layer_init (&l, dev, N_KEYS, 8, 2, NEEDLE_C);
  haystack (&l, rand, q);
  plant (&l, q, 2, 1234);
  plant (&l, q, 5, 77);
  write_keys (&l, 0, N_KEYS);
  choose (&l, l.lists, q, &choice);
  attend_listed (&l, y, q, l.lists, &choice);
  g_assert_true (is_listed (list_of (&l, l.lists, 0), choice.n_most,
      pages ? 1234 / KV_PAGE_TOKENS : 1234));
  g_assert_true (is_listed (list_of (&l, l.lists, 4), choice.n_most,
      pages ? 77 / KV_PAGE_TOKENS : 77));
  g_assert_cmpfloat (distance (&l, y, 2, 1234), <, 1e-3);
  g_assert_cmpfloat (distance (&l, y, 5, 77), <, 1e-3);
  layer_clear (&l);
}

void
tidal_add_attention (void)
{
  bed_add ("/tidal/reference", test_reference, NULL);
  bed_add ("/tidal/needle", test_needle, NULL);
  bed_add ("/tidal/needle-of-group/kv", test_needle_of_group, NULL);
  bed_add ("/tidal/needle-of-group/pages", test_needle_of_group, (gpointer) 1);
}
