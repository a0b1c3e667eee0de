/* golden.c - the whole way of a picture, level by level, as transformers has it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   test-golden          the folders of tests/golden/
 *   test-golden DIR      those of another output of make-golden.py
 *   GOLDEN_DEVICE=cuda test-golden
 *                        on another device: all levels with its activations
 *                        in f32; as it is, what is kept and said against the
 *                        processor with the same weights, and the main levels;
 *                        the same bits with recordings replayed and without
 *
 * Weights are f32 here whatever the folder stores, as in make-golden.py, in
 * plain C and on the best level the processor has; a last test repeats the
 * main levels with bf16 weights. What
 * is integer must be equal: prompt ids, pixels, counts. Kept sets and greedy
 * ids must be equal where the decision is not a matter of rounding: cases
 * whose margin is under MARGIN are skipped and counted.
 */
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/prompt.h"
#include "tests/golden-load.h"
#include "tests/golden-run.h"

#define MARGIN 1e-3

/* Parts of the largest value. f32 sums of some hundred terms in another order
 * differ by about 1e-6 after a few layers; the encoder feeds the rest. */
#define FEATURES 1e-5
#define TAPS 1e-5
#define PACKED 1e-5
#define LOGITS 1e-4

/* Weights, and where the processor multiplies bf16 activations too, keep 8
 * bits: 2^-9 each, a few such errors add up from layer to layer. */
#define HALF_FEATURES 4e-2
#define HALF_LOGITS 8e-2

/* Where activations are narrow, a choice that is less close than this is the
 * processor's: tokens by parts of their score, ids by their logits. */
#define NARROW_CUT 0.02
#define NARROW_TEXT 0.05

typedef struct {
  int prompts, pictures, features, taps, packed, logits, texts;
  int kept_sets, kept_texts, sets_skipped, texts_skipped;
  double worst[4]; /* features, taps, packed, logits */
} Tally;

static Tally tally;
static const char *other_device; /* or NULL: the processor */

/* A device that is emulated is slow, and so is a sanitizer. There, without -m
 * slow, each wish is met once: a third of them in each of the three cases. */
static gboolean
asks (int i, int k)
{
#ifdef __SANITIZE_ADDRESS__
  gboolean slow = TRUE;
#else
  gboolean slow = other_device != NULL;
#endif

  return !slow || g_test_slow () || k % 3 == i % 3;
}

static const GoldenAsk everything = { .policy = "all", .budget = 1 };
static const GoldenAsk half_budget = { .policy = "hired", .budget = 0.5 };
/* As many tokens and the same taps, which the host reads here. */
static const GoldenAsk tapped = { .policy = "hired-reference", .budget = 0.5 };
static const GoldenAsk full_budget = { .policy = "hired", .budget = 1 };

/* kind: of tally.worst, or -1. */
static void
compare (const char *what, int kind, const float *found, const float *expected,
    gsize n, double tolerance)
{
  double largest = 0, worst = 0;

  for (gsize i = 0; i < n; i++) {
    largest = MAX (largest, fabs (expected[i]));
    worst = isnan (found[i]) ? INFINITY
                             : MAX (worst, fabs (found[i] - expected[i]));
  }
  if (kind >= 0)
    tally.worst[kind] = MAX (tally.worst[kind], worst / largest);
  if (worst > tolerance * largest) {
    g_test_message ("%s: differ by %g of %g, tolerance %g of it", what, worst,
        largest, tolerance);
    g_test_fail ();
  }
}

static void
expect_ints (
    const char *what, const int *found, int n_found, const GoldenInts *expected)
{
  if (n_found == expected->n &&
      !memcmp (found, expected->values, n_found * sizeof (int)))
    return;
  g_test_message ("%s: %d values expected, %d found, or others", what,
      expected->n, n_found);
  for (int i = 0; i < MIN (n_found, expected->n); i++)
    if (found[i] != expected->values[i])
      g_test_message ("  [%d] %d, not %d", i, found[i], expected->values[i]);
  g_test_fail ();
}

static void
check_prompt (const GoldenRun *run, const GoldenCase *c)
{
  g_autoptr (GError) error = NULL;
  const VlmModel *model = run->model;
  VlmPrompt prompt = { 0 };
  VlmTokenizer *tokenizer = vlm_prompt_tokenizer (model, &error);
  int image_id;

  g_assert_no_error (error);
  vlm_prompt_image_id (&image_id, model, tokenizer, &error);
  g_assert_no_error (error);
  vlm_prompt_build (
      &prompt, model, tokenizer, image_id, c->question, NULL, FALSE, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (prompt.text, ==, c->rendered);
  expect_ints ("prompt", prompt.ids, prompt.n, &c->prompt_ids);
  g_assert_cmpint (prompt.ids[prompt.image_at], ==, image_id);
  vlm_prompt_clear (&prompt);
  vlm_tokenizer_free (tokenizer);
  tally.prompts++;
}

static void
check_crc (GoldenRun *run, guint32 expected)
{
  int T = run->model->config.vision.image_size;
  gsize count = (gsize) run->n_tiles * 3 * T * T;
  g_autofree float *pixels = golden_run_pixels (run);

  g_assert_cmphex (golden_crc (pixels, count * sizeof (float)), ==, expected);
  tally.pictures++;
}

/* Leaves the tiles of the golden's own resampling. */
static void
check_pixels (
    GoldenRun *run, const Golden *golden, const GoldenPicture *picture)
{
  for (int i = 0; i < 2; i++) {
    VlmResampling resampling = i ? golden->resampling : !golden->resampling;

    golden_run_look (run, picture, resampling);
    check_crc (run, picture->crc[resampling]);
  }
  g_assert_cmpint (picture->image_tokens, ==,
      vlm_tile_image_tokens (&run->geometry, &run->model->config));
}

/* Rows of the reference's features that the selection keeps. */
static void
check_features (GoldenRun *run, const Golden *golden, int i, double tolerance)
{
  int kind = tolerance == FEATURES ? 0 : -1;
  const VlmConfig *config = &run->model->config;
  gsize width = config->vision.width * config->n_feature_layers, n_expected;
  const float *expected = golden_array (golden, i, "features", &n_expected);
  int n, first = config->keep_class_token ? 1 : 0;
  g_autofree float *found = golden_run_features (run, &n);

  if (first)
    compare ("class token", kind, found, expected, width, tolerance);
  for (int row = first; row < n; row++) {
    gsize id = run->selection.order[row - first] + first;

    g_assert_cmpuint ((id + 1) * width, <=, n_expected);
    compare ("features", kind, found + row * width, expected + id * width,
        width, tolerance);
  }
  tally.features++;
}

static void
check_taps (GoldenRun *run, const Golden *golden, int i)
{
  const VlmPolicyInput *input = &run->job.input;
  gsize N = run->model->config.vision.n_patches, n;
  const float *first = golden_array (golden, i, "cls_first", &n);
  const float *last = golden_array (golden, i, "cls_last", &n);

  g_assert_cmpuint (n, ==, N * run->n_tiles);
  if (input->cls_first)
    compare ("first tap", 1, input->cls_first, first, N, TAPS);
  for (int t = 0; input->cls_last && t < run->n_tiles; t++)
    if (run->selection.per_tile[t] > 0)
      compare ("last tap", 1, input->cls_last + t * N, last + t * N, N, TAPS);
  tally.taps++;
}

static void
check_greedy (GoldenRun *run, const char *what, const GoldenInts *expected,
    double margin, int *n_texts)
{
  int ids[32], n;

  if (margin < MARGIN) {
    tally.texts_skipped++;
    return;
  }
  n = golden_run_generate (run, expected->n, ids, NULL);
  expect_ints (what, ids, n, expected);
  (*n_texts)++;
}

static void
check_packed (GoldenRun *run, const Golden *golden, int i)
{
  const GoldenCase *c = &golden->cases[i];
  gsize n;
  const float *expected = golden_array (golden, i, "packed", &n);
  g_autofree float *found = NULL;
  int n_rows;

  golden_run_splice (
      run, c->prompt_ids.values, c->prompt_ids.n, &found, &n_rows);
  g_assert_cmpint (n_rows, ==, c->picture.image_tokens);
  compare ("packed", 2, found, expected, n, PACKED);
  tally.packed++;
}

static void
check_logits (GoldenRun *run, const Golden *golden, int i)
{
  const GoldenCase *c = &golden->cases[i];
  int vocab = run->model->config.text.vocab, ids[32], steps;
  gsize n;
  const float *expected = golden_array (golden, i, "logits", &n);
  g_autofree float *found = g_new (float, n);

  steps = golden_run_generate (run, c->ids.n, ids, found);
  if (c->margin < MARGIN) { /* later steps follow another text */
    n = vocab;
    tally.texts_skipped++;
  } else {
    expect_ints ("greedy ids", ids, steps, &c->ids);
    tally.texts++;
  }
  compare ("logits", 3, found, expected, n, LOGITS);
  tally.logits++;
}

/* Rows that may be sums, by the mean of their features. */
static void
check_means (GoldenRun *run, const float *means)
{
  const VlmConfig *config = &run->model->config;
  int width = config->vision.width * config->n_feature_layers, n;
  int first = config->keep_class_token ? 1 : 0;
  g_autofree float *found = golden_run_features (run, &n);

  for (int row = first; row < n; row++) {
    double sum = 0, largest = 0;

    for (int j = 0; j < width; j++) {
      double value = found[row * width + j];

      sum += value;
      largest = MAX (largest, fabs (value));
    }
    g_assert_cmpfloat_with_epsilon (
        sum / width, means[row - first], FEATURES * (1 + largest));
  }
}

static void
check_kept (GoldenRun *run, const Golden *golden, int i, const GoldenKept *kept)
{
  const GoldenCase *c = &golden->cases[i];
  int n_rows;

  golden_run_see (run, &kept->ask);
  check_taps (run, golden, i);
  if (kept->cut_margin < MARGIN) {
    tally.sets_skipped++;
    return;
  }
  expect_ints ("order", run->selection.order, run->selection.n, &kept->order);
  expect_ints ("tokens of tiles", run->selection.per_tile, run->n_tiles,
      &kept->per_tile);
  expect_ints ("ends of lines", run->selection.lines, run->selection.n_lines,
      &kept->lines);
  tally.kept_sets++;
  if (kept->means)
    check_means (run, kept->means);
  else
    check_features (run, golden, i, FEATURES);
  golden_run_splice (run, c->prompt_ids.values, c->prompt_ids.n, NULL, &n_rows);
  check_greedy (
      run, kept->ask.policy, &kept->ids, kept->margin, &tally.kept_texts);
}

static void
check_case (GoldenRun *run, const Golden *golden, int i)
{
  const GoldenCase *c = &golden->cases[i];

  g_test_message ("case %d, %dx%d", i, c->picture.width, c->picture.height);
  check_prompt (run, c);
  check_pixels (run, golden, &c->picture);
  golden_run_see (run, &everything);
  check_features (run, golden, i, FEATURES);
  check_packed (run, golden, i);
  check_logits (run, golden, i);
  golden_run_see (run, &tapped);
  check_taps (run, golden, i);
  /* a full budget is the unmodified model */
  golden_run_see (run, &full_budget);
  check_packed (run, golden, i);
  for (int k = 0; k < c->n_kept; k++)
    if (asks (i, k))
      check_kept (run, golden, i, &c->kept[k]);
}

static void
test_level (const char *folder, const char *device)
{
  Golden *golden = golden_load (folder);
  GoldenRun *run = golden_run_new (device, folder, TYPE_F32);

  for (int i = 0; i < golden->n_cases; i++)
    check_case (run, golden, i);
  for (int i = 0; i < golden->n_pictures; i++)
    check_pixels (run, golden, &golden->pictures[i]);
  golden_run_free (run);
  golden_free (golden);
}

static void
test_plain (gconstpointer folder)
{
  test_level (folder, "cpu:plain");
}

static void
test_best (gconstpointer folder)
{
  test_level (folder, "cpu");
}

static void
test_other (gconstpointer folder)
{
  g_autofree char *device = g_strconcat (other_device, ":f32", NULL);

  test_level (folder, device);
}

static void
check_half (GoldenRun *run, const Golden *golden, int i)
{
  const GoldenCase *c = &golden->cases[i];
  int vocab = run->model->config.text.vocab, n_rows, id;
  g_autofree float *logits = g_new (float, vocab);
  gsize n;

  golden_run_look (run, &c->picture, golden->resampling);
  golden_run_see (run, &everything);
  check_features (run, golden, i, HALF_FEATURES);
  golden_run_splice (run, c->prompt_ids.values, c->prompt_ids.n, NULL, &n_rows);
  golden_run_generate (run, 1, &id, logits);
  compare ("logits", -1, logits, golden_array (golden, i, "logits", &n), vocab,
      HALF_LOGITS);
}

static gboolean
keep_alike (const GoldenRun *a, const GoldenRun *b)
{
  return a->selection.n == b->selection.n &&
         !memcmp (a->selection.order, b->selection.order,
             a->selection.n * sizeof *a->selection.order);
}

/* The least difference of the two largest of n rows of logits. */
static double
least_margin (const float *logits, int n, int vocab)
{
  double least = INFINITY;

  for (int i = 0; i < n; i++) {
    double first = -INFINITY, second = -INFINITY;

    for (int j = 0; j < vocab; j++) {
      double value = logits[(gsize) i * vocab + j];

      second = MAX (second, MIN (first, value));
      first = MAX (first, value);
    }
    least = MIN (least, first - second);
  }
  return least;
}

/* The processor's text, its least margin, and how many ids it has. */
static int
generate_with_margin (GoldenRun *run, int most, int *ids, double *margin)
{
  int vocab = run->model->config.text.vocab, n;
  g_autofree float *logits = g_new (float, (gsize) most *vocab);

  n = golden_run_generate (run, most, ids, logits);
  *margin = least_margin (logits, n, vocab);
  return n;
}

static void
check_narrow (
    GoldenRun *run, GoldenRun *cpu, const GoldenCase *c, const GoldenKept *kept)
{
  const GoldenInts *prompt = &c->prompt_ids;
  int n_rows, ids[32];
  GoldenInts wanted = { ids, 0 };
  double margin;

  golden_run_see (cpu, &kept->ask);
  golden_run_see (run, &kept->ask);
  if (!keep_alike (run, cpu)) {
    if (kept->cut_margin >= NARROW_CUT) {
      g_test_message ("%s keeps others than the processor, by %g of a score",
          kept->ask.policy, kept->cut_margin);
      g_test_fail ();
    }
    tally.sets_skipped++;
    return;
  }
  tally.kept_sets++;
  golden_run_splice (cpu, prompt->values, prompt->n, NULL, &n_rows);
  wanted.n = generate_with_margin (cpu, kept->ids.n, ids, &margin);
  if (margin < NARROW_TEXT) {
    tally.texts_skipped++;
    return;
  }
  golden_run_splice (run, prompt->values, prompt->n, NULL, &n_rows);
  check_greedy (run, kept->ask.policy, &wanted, margin, &tally.kept_texts);
}

/* Against the processor with the same weights. */
static void
test_narrow (gconstpointer folder)
{
  Golden *golden = golden_load (folder);
  GoldenRun *run = golden_run_new (other_device, folder, TYPE_BF16);
  GoldenRun *cpu = golden_run_new ("cpu:plain", folder, TYPE_BF16);

  for (int i = 0; i < golden->n_cases; i++) {
    const GoldenCase *c = &golden->cases[i];

    golden_run_look (cpu, &c->picture, golden->resampling);
    golden_run_look (run, &c->picture, golden->resampling);
    for (int k = 0; k < c->n_kept; k++)
      if (asks (i, k))
        check_narrow (run, cpu, c, &c->kept[k]);
  }
  golden_run_free (run);
  golden_run_free (cpu);
  golden_free (golden);
}

static void
test_half (gconstpointer folder)
{
  Golden *golden = golden_load (folder);
  const char *device = other_device ? other_device : "cpu";
  GoldenRun *run = golden_run_new (device, folder, TYPE_BF16);

  for (int i = 0; i < golden->n_cases; i++)
    check_half (run, golden, i);
  golden_run_free (run);
  golden_free (golden);
}

/* Everything that a frame and its text computed, how much of it was replayed,
 * and whether the decoder's steps may be: dynamic RoPE's are all different. */
static GBytes *
run_recorded (const char *folder, const char *wanted, unsigned *n_replays,
    gboolean *steady)
{
  Golden *golden = golden_load (folder);
  const GoldenCase *c = &golden->cases[0];
  int vocab, ids[12], n, n_features, n_rows;
  GByteArray *all = g_byte_array_new ();

  g_setenv ("HIREDVLM_CUDA_GRAPHS", wanted, TRUE);
  GoldenRun *run = golden_run_new (other_device, folder, TYPE_BF16);
  vocab = run->model->config.text.vocab;
  golden_run_look (run, &c->picture, golden->resampling);
  for (int i = 0; i < 3; i++) {
    g_autofree float *logits = g_new0 (float, G_N_ELEMENTS (ids) * vocab);
    g_autofree float *features = NULL;

    golden_run_see (run, &half_budget);
    features = golden_run_features (run, &n_features);
    golden_run_splice (
        run, c->prompt_ids.values, c->prompt_ids.n, NULL, &n_rows);
    n = golden_run_generate (run, G_N_ELEMENTS (ids), ids, logits);
    g_byte_array_append (all, (guint8 *) features,
        n_features * run->model->config.vision.width * sizeof (float));
    g_byte_array_append (all, (guint8 *) logits, n * vocab * sizeof (float));
  }
  *n_replays = run->dev->n_replays;
  *steady = run->model->config.text.rope.kind != VLM_ROPE_DYNAMIC;
  golden_run_free (run);
  golden_free (golden);
  g_unsetenv ("HIREDVLM_CUDA_GRAPHS");
  return g_byte_array_free_to_bytes (all);
}

static void
test_graphs (gconstpointer folder)
{
  unsigned n_with, n_without;
  gboolean steady;
  g_autoptr (GBytes) with = run_recorded (folder, "1", &n_with, &steady);
  g_autoptr (GBytes) without = run_recorded (folder, "0", &n_without, &steady);

  g_test_message ("%u replays", n_with);
  g_assert_cmpuint (n_without, ==, 0);
  g_assert_cmpuint (n_with, >, steady ? 6 : 0);
  g_assert_true (g_bytes_equal (with, without));
}

static void
add_test (
    const char *name, const char *level, const char *folder, GTestDataFunc func)
{
  g_autofree char *path = g_strdup_printf ("/golden/%s/%s", name, level);

  g_test_add_data_func_full (path, g_strdup (folder), func, g_free);
}

/* The levels of an emulated device too are all of them with -m slow only. */
static void
add_folder (const char *name, const char *folder)
{
  if (other_device) {
    add_test (name, "other", folder, test_other);
    add_test (name, "narrow", folder, test_narrow);
  } else {
    add_test (name, "plain", folder, test_plain);
    add_test (name, "best", folder, test_best);
  }
  if (other_device && g_test_slow ())
    add_test (name, "graphs", folder, test_graphs);
  if (!other_device || g_test_slow ())
    add_test (name, "bf16", folder, test_half);
}

static int
add_folders (const char *dir)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) folders = g_dir_open (dir, 0, &error);
  const char *name;
  int n = 0;

  g_assert_no_error (error);
  while ((name = g_dir_read_name (folders))) {
    g_autofree char *folder = g_build_filename (dir, name, NULL);
    g_autofree char *json = g_build_filename (folder, "golden.json", NULL);

    if (!g_file_test (json, G_FILE_TEST_EXISTS))
      continue;
    add_folder (name, folder);
    n++;
  }
  return n;
}

int
main (int argc, char **argv)
{
  g_autofree char *dir = NULL;
  int status, n_folders;

  g_test_init (&argc, &argv, NULL);
  other_device = g_getenv ("GOLDEN_DEVICE");
  dir = argc > 1 ? g_strdup (argv[1])
                 : g_test_build_filename (G_TEST_DIST, "golden", NULL);
  n_folders = add_folders (dir);
  g_assert_cmpint (n_folders, >, 0);
  status = g_test_run ();
  printf ("# %d folders: %d prompts, %d pictures, %d features, %d taps, %d "
          "packed, %d logits, %d texts; policies: %d kept sets, %d texts; "
          "margin under %g: %d sets, %d texts\n",
      n_folders, tally.prompts, tally.pictures, tally.features, tally.taps,
      tally.packed, tally.logits, tally.texts, tally.kept_sets,
      tally.kept_texts, MARGIN, tally.sets_skipped, tally.texts_skipped);
  printf ("# largest differences: features %.1e, taps %.1e, packed %.1e, "
          "logits %.1e\n",
      tally.worst[0], tally.worst[1], tally.worst[2], tally.worst[3]);
  return status;
}
