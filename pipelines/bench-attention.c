/* bench-attention.c - one layer's decode attention, full and to chosen keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A cache of the shape's heads is filled with random keys, and full attention,
 * choosing, and attention to what was chosen are timed in turn, round after
 * round, so that all meet the machine in the same state. The floor is the time
 * to read once, at the probed speed, what must be read.
 */
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/error.h"
#include "engine/scratch.h"
#include "engine/tidal.h"
#include "pipelines/bench.h"

#define ROWS 2048 /* different keys */
#define CHUNK 512 /* keys written at once */
#define ROUNDS 9
#define N_GROUPS 3

static const char *const group_names[N_GROUPS] = { "kv", "query", "pages" };

/* Of the rounds, in milliseconds. */
typedef struct {
  double median, least;
} Spread;

typedef struct {
  Spread choose, sparse;
  double sparse_floor_ms;
} GroupResult;

typedef struct {
  int context;
  Spread full;
  double full_floor_ms;
  GroupResult groups[N_GROUPS];
} ContextResult;

/* A layer's cache of one sequence, and a batch of its newest token. */
typedef struct {
  Device *dev;
  const VlmTextConfig *text;
  int n, n_pages;
  KvLayer kv;
  int *ints; /* device: q_start[2], kv_len, page_start[2], pages, slots */
  PagedBatch batch;
  Act *q, *y, *rows; /* [h*c], [h*c], [CHUNK,k*c] */
  Residual *wide;    /* [CHUNK,h*c] */
  float *scores;
  int *lists, *ids;
} Bed;

static gboolean
allocate (Bed *b, GError **error)
{
  const VlmTextConfig *t = b->text;
  gsize c = t->head_width, act = b->dev->act_bytes;
  gsize slots = (gsize) b->n_pages * KV_PAGE_TOKENS;
  gsize layer = slots * t->kv_heads * c * act;

  b->kv = (KvLayer){ device_alloc (b->dev, layer), device_alloc (b->dev, layer),
    b->n_pages };
  b->ints = device_alloc (b->dev, (16 + b->n_pages + CHUNK) * sizeof (int));
  b->q = device_alloc (b->dev, t->heads * c * act);
  b->y = device_alloc (b->dev, t->heads * c * act);
  b->rows = device_alloc (b->dev, CHUNK * t->kv_heads * c * act);
  b->wide = device_alloc (b->dev, CHUNK * t->heads * c * sizeof (Residual));
  b->ids = device_alloc (b->dev, CHUNK * sizeof (int));
  b->scores = device_alloc (b->dev, slots * t->heads * sizeof (float));
  b->lists = device_alloc (b->dev, slots * t->heads * sizeof (int));
  return vlm_device_check (b->dev, error);
}

static void
bed_clear (Bed *b)
{
  void *owned[] = { b->kv.k, b->kv.v, b->ints, b->q, b->y, b->rows, b->wide,
    b->ids, b->scores, b->lists };

  for (gsize i = 0; i < G_N_ELEMENTS (owned); i++)
    device_free (b->dev, owned[i]);
}

/* The step of `count` tokens that end at `length`. */
static void
set_batch (Bed *b, int length, int count)
{
  g_autofree int *ints = g_new0 (int, 16 + b->n_pages + CHUNK);
  int *slots = ints + 16 + b->n_pages;

  ints[1] = count;
  ints[2] = length;
  ints[4] = b->n_pages;
  for (int i = 0; i < b->n_pages; i++)
    ints[16 + i] = i;
  for (int i = 0; i < count; i++)
    slots[i] = length - count + i;
  device_upload (
      b->dev, b->ints, ints, (16 + b->n_pages + CHUNK) * sizeof (int));
  b->batch = (PagedBatch){ count, 1, length, count, b->ints, b->ints + 2,
    b->ints + 3, b->ints + 16, b->ints + 16 + b->n_pages };
}

static void
random_rows (Bed *b, GRand *rand, Act *to, const Mat *table, int n)
{
  int ids[CHUNK];

  for (int i = 0; i < n; i++)
    ids[i] = g_rand_int_range (rand, 0, ROWS);
  device_upload (b->dev, b->ids, ids, n * sizeof (int));
  b->dev->op->embed (b->dev, b->wide, table, b->ids, n);
  b->dev->op->narrow_rows (b->dev, to, b->wide, NULL, n, table->cols);
}

static void
make_table (Bed *b, GRand *rand, Mat *table, float *values, int cols)
{
  for (gsize i = 0; i < (gsize) ROWS * cols; i++)
    values[i] = g_rand_double_range (rand, -1.7, 1.7); /* of variance 1 */
  b->dev->op->mat_init (
      b->dev, table, b->dev->act_type, values, TYPE_F32, ROWS, cols, NULL);
}

static void
fill (Bed *b)
{
  const Ops *op = b->dev->op;
  const VlmTextConfig *t = b->text;
  int c = t->head_width;
  g_autofree float *values = g_new (float, (gsize) ROWS * t->heads * c);
  g_autofree float *keys = g_new (float, (gsize) ROWS * t->kv_heads * c);
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  Mat queries = { 0 }, table = { 0 };

  make_table (b, rand, &table, keys, t->kv_heads * c);
  make_table (b, rand, &queries, values, t->heads * c);
  for (int done = 0; done < b->n; done += CHUNK) {
    int count = MIN (CHUNK, b->n - done);

    random_rows (b, rand, b->rows, &table, count);
    set_batch (b, done + count, count);
    op->kv_write (
        b->dev, &b->kv, b->wide, NULL, b->rows, &b->batch, t->kv_heads, c);
  }
  random_rows (b, rand, b->q, &queries, 1);
  set_batch (b, b->n, 1);
  device_sync (b->dev, NULL);
  op->mat_clear (b->dev, &table);
  op->mat_clear (b->dev, &queries);
}

static double
since (const Bed *b, gint64 *start)
{
  gint64 before = *start;

  device_sync (b->dev, NULL);
  *start = g_get_monotonic_time ();
  return (*start - before) / 1e3;
}

typedef struct {
  double full[ROUNDS], choose[N_GROUPS][ROUNDS], sparse[N_GROUPS][ROUNDS];
} Times;

static void
run_group (Bed *b, int group, int tokens, Times *times, int round)
{
  const Ops *op = b->dev->op;
  const VlmTextConfig *t = b->text;
  const VlmTidal tidal = { .group = group, .tokens = tokens };
  KeyChoice choice = vlm_tidal_choice (&tidal);
  int h = t->heads, k = t->kv_heads, c = t->head_width;
  gint64 start = g_get_monotonic_time ();

  op->key_scores (b->dev, b->scores, b->q, &b->kv, &b->batch, choice.group, h,
      k, c, 1 / sqrtf (c), 0);
  op->choose_keys (b->dev, b->lists, b->scores, &b->batch, &choice, h, k);
  times->choose[group][round] = since (b, &start);
  op->attention_listed (b->dev, b->y, b->q, &b->kv, &b->batch, b->lists,
      &choice, h, k, c, 1 / sqrtf (c), 0);
  times->sparse[group][round] = since (b, &start);
}

static void
run_round (Bed *b, int tokens, Times *times, int round)
{
  const VlmTextConfig *t = b->text;
  gint64 start = g_get_monotonic_time ();

  b->dev->op->attention_paged (b->dev, b->y, b->q, &b->kv, &b->batch, t->heads,
      t->kv_heads, t->head_width, 1 / sqrtf (t->head_width), 0);
  times->full[round] = since (b, &start);
  for (int group = 0; group < N_GROUPS; group++)
    run_group (b, group, tokens, times, round);
}

static int
compare (gconstpointer a, gconstpointer b)
{
  const double *x = a, *y = b;

  return (*x > *y) - (*x < *y);
}

static Spread
spread (double *values)
{
  qsort (values, ROUNDS, sizeof *values, compare);
  return (Spread){ values[ROUNDS / 2], values[0] };
}

/* Milliseconds to read keys and values of so many tokens of so many heads. */
static double
floor_ms (const Bed *b, double tokens, int heads, const DeviceProbe *probe)
{
  double bytes = 2 * tokens * heads * b->text->head_width * b->dev->act_bytes;

  return probe->read_gbs > 0 ? bytes / probe->read_gbs / 1e6 : 0;
}

static void
summarise (
    const Bed *b, Times *times, const DeviceProbe *probe, ContextResult *result)
{
  result->full = spread (times->full);
  result->full_floor_ms = floor_ms (b, b->n, b->text->kv_heads, probe);
  for (int group = 0; group < N_GROUPS; group++) {
    result->groups[group].choose = spread (times->choose[group]);
    result->groups[group].sparse = spread (times->sparse[group]);
  }
}

static void
set_floors (
    const Bed *b, int tokens, const DeviceProbe *probe, ContextResult *result)
{
  for (int group = 0; group < N_GROUPS; group++) {
    const VlmTidal tidal = { .group = group, .tokens = tokens };
    KeyChoice choice = vlm_tidal_choice (&tidal);
    gboolean pages = choice.group == PAGES_OF_KV_HEAD;
    int keys = MIN (choice.n_most * (pages ? KV_PAGE_TOKENS : 1), b->n);

    result->groups[group].sparse_floor_ms = floor_ms (b, keys,
        group == VLM_TIDAL_QUERY ? b->text->heads : b->text->kv_heads, probe);
  }
}

static gboolean
measure (Device *dev, const VlmTextConfig *text, int tokens,
    DeviceProber *prober, ContextResult *result, GError **error)
{
  DeviceProbe probe;
  int n = result->context;
  Bed b = { .dev = dev,
    .text = text,
    .n = n,
    .n_pages = (n + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS };
  gboolean done = allocate (&b, error);
  Times times;

  if (done) {
    fill (&b);
    run_round (&b, tokens, &times, 0); /* warms up */
    for (int round = 0; round < ROUNDS; round++) {
      device_prober_read (prober);
      run_round (&b, tokens, &times, round);
    }
    probe = device_prober_best (prober);
    summarise (&b, &times, &probe, result);
    set_floors (&b, tokens, &probe, result);
    done = vlm_device_check (dev, error);
  }
  bed_clear (&b);
  return done;
}

/* ---- the report ---- */

static void
print_text (const BenchBed *bed, const BenchOptions *o,
    const DeviceProbe *probe, const ContextResult *results, int n)
{
  printf ("%s, %s, one layer, %d tokens chosen; read_gbs %.1f\n",
      bed->model->name, bed->dev->name, o->tidal_tokens, probe->read_gbs);
  for (int i = 0; i < n; i++) {
    const ContextResult *r = &results[i];

    printf ("context %-6d full   %9.3f ms, least %9.3f; floor %8.3f\n",
        r->context, r->full.median, r->full.least, r->full_floor_ms);
    for (int group = 0; group < N_GROUPS; group++) {
      const GroupResult *g = &r->groups[group];

      printf ("  %-6s       sparse %9.3f ms, least %9.3f; floor %8.3f; least "
              "of full %6.1f times; choosing %9.3f, least %9.3f\n",
          group_names[group], g->sparse.median, g->sparse.least,
          g->sparse_floor_ms, r->full.least / g->sparse.least, g->choose.median,
          g->choose.least);
    }
  }
}

static void
add_number (JsonBuilder *b, const char *name, double value)
{
  json_builder_set_member_name (b, name);
  json_builder_add_double_value (b, value);
}

static void
add_spread (JsonBuilder *b, const char *name, const Spread *spread)
{
  g_autofree char *median = g_strdup_printf ("%s_ms", name);
  g_autofree char *least = g_strdup_printf ("%s_ms_least", name);

  add_number (b, median, spread->median);
  add_number (b, least, spread->least);
}

static void
add_context (JsonBuilder *b, const ContextResult *r)
{
  json_builder_begin_object (b);
  json_builder_set_member_name (b, "context");
  json_builder_add_int_value (b, r->context);
  add_spread (b, "full", &r->full);
  add_number (b, "full_floor_ms", r->full_floor_ms);
  for (int group = 0; group < N_GROUPS; group++) {
    json_builder_set_member_name (b, group_names[group]);
    json_builder_begin_object (b);
    add_spread (b, "choose", &r->groups[group].choose);
    add_spread (b, "sparse", &r->groups[group].sparse);
    add_number (b, "sparse_floor_ms", r->groups[group].sparse_floor_ms);
    json_builder_end_object (b);
  }
  json_builder_end_object (b);
}

static void
print_json (const BenchBed *bed, const BenchOptions *o,
    const DeviceProbe *probe, const ContextResult *results, int n)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  json_builder_set_member_name (b, "shape");
  json_builder_add_string_value (b, bed->model->name);
  json_builder_set_member_name (b, "device");
  json_builder_add_string_value (b, bed->dev->name);
  add_number (b, "read_gbs", probe->read_gbs);
  json_builder_set_member_name (b, "tokens");
  json_builder_add_int_value (b, o->tidal_tokens);
  json_builder_set_member_name (b, "contexts");
  json_builder_begin_array (b);
  for (int i = 0; i < n; i++)
    add_context (b, &results[i]);
  json_builder_end_array (b);
  json_builder_end_object (b);
  g_autoptr (JsonNode) root = json_builder_get_root (b);
  g_autofree char *text = json_to_string (root, FALSE);
  puts (text);
}

gboolean
bench_attention (
    const BenchBed *bed, const BenchOptions *options, GError **error)
{
  g_auto (GStrv) contexts = g_strsplit (options->contexts, ",", -1);
  int n = g_strv_length (contexts);
  g_autofree ContextResult *results = g_new0 (ContextResult, n);
  DeviceProber *prober =
      options->no_probes ? NULL : device_prober_new (bed->dev);
  DeviceProbe probe;
  gboolean done = TRUE;

  for (int i = 0; i < n && done; i++) {
    results[i].context = atoi (contexts[i]);
    done = measure (bed->dev, &bed->model->config.text, options->tidal_tokens,
        prober, &results[i], error);
  }
  probe = device_prober_best (prober);
  device_prober_free (prober);
  if (done && options->json)
    print_json (bed, options, &probe, results, n);
  else if (done)
    print_text (bed, options, &probe, results, n);
  return done;
}
