/* flex-model.c - whole FlexAttention models against a restatement of them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Goldens of make-golden-flexattention.py, on the processor or, with
 * GOLDEN_DEVICE=cuda, on that device in f32: every selection, logits and texts;
 * there one picture of a folder, and all with -m slow.
 * What the release does otherwise is named where it is tested.
 */
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "tests/golden-run.h"

#define MARGIN 1e-3
#define SELECT_MARGIN 1e-2 /* of 255 */
#define LOGITS 1e-4
#define MOST 16 /* tokens of a case */

typedef struct {
  GoldenRun *run;
  JsonParser *parser;
  JsonArray *cases;
  GPtrArray *arrays;
  char *bytes;
} Bed;

static const float *
array_of (const Bed *bed, int i, const char *name, gsize *n)
{
  g_autofree char *full = g_strdup_printf ("%d.%s", i, name);

  for (guint k = 0; k < bed->arrays->len; k++) {
    const VlmTensor *tensor = bed->arrays->pdata[k];

    if (g_str_equal (tensor->name, full)) {
      *n = tensor->bytes / sizeof (float);
      return (const float *) (const void *) tensor->data;
    }
  }
  g_error ("%s is not there", full);
}

static void
bed_init (Bed *bed, const char *name)
{
  g_autofree char *folder =
      g_test_build_filename (G_TEST_DIST, "golden-flex", name, NULL);
  g_autofree char *json = g_build_filename (folder, "golden.json", NULL);
  g_autofree char *arrays =
      g_build_filename (folder, "golden.safetensors", NULL);
  const char *other = g_getenv ("GOLDEN_DEVICE");
  g_autofree char *device =
      other ? g_strconcat (other, ":f32", NULL) : g_strdup ("cpu");
  gsize length;

  bed->run = golden_run_new (device, folder, TYPE_F32);
  bed->parser = json_parser_new ();
  g_assert_true (json_parser_load_from_file (bed->parser, json, NULL));
  bed->cases = json_object_get_array_member (
      json_node_get_object (json_parser_get_root (bed->parser)), "cases");
  g_assert_true (g_file_get_contents (arrays, &bed->bytes, &length, NULL));
  bed->arrays =
      vlm_safetensors_parse ((const guint8 *) bed->bytes, length, arrays, NULL);
}

static void
bed_clear (Bed *bed)
{
  golden_run_free (bed->run);
  g_object_unref (bed->parser);
  g_ptr_array_unref (bed->arrays);
  g_free (bed->bytes);
}

static JsonObject *
case_of (const Bed *bed, int i)
{
  return json_array_get_object_element (bed->cases, i);
}

static int
read_ints (JsonObject *object, const char *name, int *values)
{
  JsonArray *list = json_object_get_array_member (object, name);
  int n = (int) json_array_get_length (list);

  for (int i = 0; i < n; i++)
    values[i] = (int) json_array_get_int_element (list, i);
  return n;
}

static void
compare (const char *what, const float *found, const float *expected, gsize n,
    double tolerance)
{
  double largest = 0, worst = 0;

  for (gsize i = 0; i < n; i++) {
    largest = MAX (largest, fabs (expected[i]));
    worst = MAX (worst, fabs (found[i] - expected[i]));
  }
  g_test_message ("%s: %.1e of the largest", what, worst / largest);
  g_assert_cmpfloat (worst, <=, tolerance * largest);
}

static void
check_means (Bed *bed, const char *what, int i, const float *rows, int n)
{
  int D = bed->run->model->config.text.width;
  g_autofree float *means = g_new (float, n);
  gsize n_expected;
  const float *expected = array_of (bed, i, what, &n_expected);

  g_assert_cmpuint (n_expected, ==, n);
  for (int k = 0; k < n; k++) {
    double sum = 0;

    for (int j = 0; j < D; j++)
      sum += rows[(gsize) k * D + j];
    means[k] = sum / D;
  }
  compare (what, means, expected, n, 1e-5);
}

/* The picture and the prompt up to the first step. */
static void
prepare (Bed *bed, int i, VlmFine *fine)
{
  static const GoldenAsk everything = { .policy = "all", .budget = 1 };
  GoldenRun *run = bed->run;
  JsonObject *c = case_of (bed, i);
  GoldenPicture picture = { json_object_get_int_member (c, "width"),
    json_object_get_int_member (c, "height"),
    json_object_get_int_member (c, "seed"), { 0 }, 0 };
  g_autofree float *low = NULL;
  int ids[512], n = read_ints (c, "prompt_ids", ids), n_rows, at = 0;

  while (ids[at] != run->image_id)
    at++;
  golden_run_look (run, &picture, VLM_RESAMPLING_TORCHVISION);
  golden_run_see (run, &everything);
  golden_run_splice (run, ids, n, &low, &n_rows);
  g_assert_cmpint (n_rows, ==, run->model->config.vision.n_patches);
  check_means (bed, "low", i, low, n_rows);
  if (!fine)
    return;
  vlm_projector_run_fine (run->projector, run->features, &run->geometry,
      fine->features, vlm_fine_rows (fine));
  vlm_fine_begin (fine, at, picture.width, picture.height, run->n_rows);
}

static void
check_fine (Bed *bed, int i, const VlmFine *fine)
{
  int D = bed->run->model->config.text.width, G = fine->view.fine_side;
  int n = G * G;
  g_autofree float *stored = g_new (float, n *D), *rows = g_new (float, n *D);

  device_download (
      bed->run->dev, stored, fine->features, (gsize) n * D * sizeof (float));
  for (int k = 0; k < n; k++)
    memcpy (rows + (gsize) k * D,
        stored + (gsize) vlm_fine_row (&fine->view, k / G, k % G) * D,
        D * sizeof (float));
  check_means (bed, "fine", i, rows, n);
}

/* The cells that a hierarchical layer looks at in a step. */
static JsonArray *
expected_cells (JsonObject *c, const VlmFine *fine, int step, int layer)
{
  JsonArray *steps = json_object_get_array_member (c, "lit");
  JsonArray *layers = json_array_get_array_element (steps, step);

  return json_array_get_array_element (layers, layer - fine->store->layer);
}

static int
expected_tokens (JsonObject *c, const VlmFine *fine, int step, int layer)
{
  JsonArray *cells = expected_cells (c, fine, step, layer);
  int n = 0;

  for (guint k = 0; k < json_array_get_length (cells); k++)
    n += vlm_fine_cell (
        fine->view.fine_side, json_array_get_int_element (cells, k))
             .n;
  return n;
}

static void
check_last_lit (JsonObject *c, int step, const VlmFine *fine, int n_layers)
{
  JsonArray *cells = expected_cells (c, fine, step, n_layers - 1);
  int n = json_array_get_length (cells);

  g_assert_cmpint (fine->n_lit, ==, n);
  for (int k = 0; k < n; k++)
    g_assert_true (fine->lit[json_array_get_int_element (cells, k)]);
}

/* The next 100 tokens of the spliced prompt, or the newest one. TRUE with its
 * logits [V]. */
static gboolean
step (
    Bed *bed, VlmFine *fine, VlmSequence *seq, const int *newest, float *logits)
{
  GoldenRun *run = bed->run;
  g_autoptr (GError) error = NULL;
  int D = run->model->config.text.width, V = run->model->config.text.vocab;
  int left = run->n_rows - seq->length, count = CLAMP (left, 1, 100);
  VlmStepInput in = { .seq = seq,
    .n = count,
    .ids = left > 0 ? NULL : newest,
    .rows = run->x + (gsize) seq->length * D,
    .n_logits = left <= 100,
    .rope_length = MAX (run->n_rows, seq->length + 1),
    .fine = fine };
  float *rows;

  g_assert_true (vlm_sequence_reserve (seq, seq->length + count));
  g_assert_true (vlm_decoder_step (run->decoder, &in, 1, &rows, &error));
  if (in.n_logits)
    device_download (run->dev, logits, rows, V * sizeof (float));
  return in.n_logits > 0;
}

static void
prefill (Bed *bed, VlmFine *fine, VlmSequence *seq, float *logits)
{
  while (!step (bed, fine, seq, NULL, logits))
    ;
}

static int
first_largest (const float *logits, int n)
{
  int best = 0;

  for (int k = 1; k < n; k++)
    if (logits[k] > logits[best])
      best = k;
  return best;
}

/* What token n selected, layer by layer; before[] is what was selected until
 * then. */
static void
check_selected (
    JsonObject *c, int n, const VlmFine *fine, int layers, guint64 *before)
{
  check_last_lit (c, n, fine, layers);
  for (int l = fine->store->layer; l < layers; l++) {
    g_assert_cmpuint (
        fine->selected[l] - before[l], ==, expected_tokens (c, fine, n, l));
    before[l] = fine->selected[l];
  }
}

/* Greedy from the spliced prompt. Checks selections if `c`. Returns the number
 * of ids. */
static int
generate (
    Bed *bed, VlmFine *fine, JsonObject *c, int most, int *ids, float *logits)
{
  const VlmTextConfig *text = &bed->run->model->config.text;
  g_autofree guint64 *before = g_new0 (guint64, text->layers);
  VlmSequence seq;
  int n = 0;

  vlm_sequence_init (&seq, bed->run->pool);
  prefill (bed, fine, &seq, logits);
  for (;;) {
    float *row = logits + (gsize) n * text->vocab;

    if (c)
      check_selected (c, n, fine, text->layers, before);
    ids[n] = first_largest (row, text->vocab);
    if (++n == most || ids[n - 1] == 2)
      break;
    step (bed, fine, &seq, &ids[n - 1], row + text->vocab);
  }
  g_assert_cmpint (seq.length, ==, bed->run->n_rows + n - 1);
  vlm_sequence_clear (&seq);
  return n;
}

/* Cells that a layer has keys of are those it was told to look at. */
static void
check_filled (JsonObject *c, const VlmFine *fine, int n_layers)
{
  JsonArray *steps = json_object_get_array_member (c, "lit");

  for (int l = fine->store->layer; l < n_layers; l++) {
    guint8 wanted[VLM_FINE_CELLS] = { 0 };

    for (guint s = 0; s < json_array_get_length (steps); s++) {
      JsonArray *cells = expected_cells (c, fine, s, l);

      for (guint k = 0; k < json_array_get_length (cells); k++)
        wanted[json_array_get_int_element (cells, k)] = TRUE;
    }
    g_assert_cmpmem (fine->filled + l * VLM_FINE_CELLS, VLM_FINE_CELLS, wanted,
        VLM_FINE_CELLS);
  }
}

static void
check_case (Bed *bed, int i, VlmFineFill fill)
{
  GoldenRun *run = bed->run;
  JsonObject *c = case_of (bed, i);
  int ids[MOST], expected[MOST], n = read_ints (c, "ids", expected), found;
  VlmFine *fine = vlm_fine_take (run->fine);
  g_autofree float *logits =
      g_new (float, (gsize) MOST * run->model->config.text.vocab);
  const float *want;
  gsize n_want;

  g_assert_cmpfloat (json_object_get_double_member (c, "margin"), >, MARGIN);
  g_assert_cmpfloat (
      json_object_get_double_member (c, "select_margin"), >, SELECT_MARGIN);
  run->fine->fill = fill;
  prepare (bed, i, fine);
  check_fine (bed, i, fine);
  found = generate (bed, fine, c, n, ids, logits);
  g_assert_cmpmem (ids, found * sizeof (int), expected, n * sizeof (int));
  want = array_of (bed, i, "logits", &n_want);
  compare ("logits", logits, want, n_want, LOGITS);
  if (fill == VLM_FINE_LAZY)
    check_filled (c, fine, run->model->config.text.layers);
  vlm_fine_give (fine);
}

static void
test_model (gconstpointer name)
{
  gboolean few = g_getenv ("GOLDEN_DEVICE") && g_test_quick ();
  Bed bed;

  bed_init (&bed, name);
  for (guint i = 0; i < (few ? 1 : json_array_get_length (bed.cases)); i++)
    check_case (&bed, i, VLM_FINE_LAZY);
  bed_clear (&bed);
}

/* Keys that are kept, computed before or computed for every token anew as in
 * the release give the same text. */
static void
test_fills (void)
{
  static const char *const names[] = { "mha", "ragged" };
  Bed bed;

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++) {
    bed_init (&bed, names[i]);
    check_case (&bed, 0, VLM_FINE_FULL);
    check_case (&bed, 0, VLM_FINE_NONE);
    bed_clear (&bed);
  }
}

/* The release keeps the last picture's finer tokens for a text without one;
 * here a place is empty for whoever takes it, and without a place the model is
 * the one without a second look. */
static void
test_without (void)
{
  Bed bed;
  int ids[MOST], expected[MOST], n, found;
  g_autofree float *logits = NULL;

  bed_init (&bed, "mha");
  logits = g_new (float, (gsize) MOST *bed.run->model->config.text.vocab);
  check_case (&bed, 1, VLM_FINE_LAZY);
  n = read_ints (case_of (&bed, 0), "plain_ids", expected);
  prepare (&bed, 0, NULL);
  found = generate (&bed, NULL, NULL, n, ids, logits);
  g_assert_cmpmem (ids, found * sizeof (int), expected, n * sizeof (int));
  check_case (&bed, 0, VLM_FINE_LAZY);
  bed_clear (&bed);
}

/* A selection of nothing leaves the layers as they are, bit for bit. */
static void
test_nothing_lit (void)
{
  Bed bed;
  VlmFine *fine;
  int ids[MOST], plain_ids[MOST], n, V;
  g_autofree float *logits = NULL, *plain = NULL;

  bed_init (&bed, "mha");
  V = bed.run->model->config.text.vocab;
  logits = g_new (float, (gsize) MOST *V);
  plain = g_new (float, (gsize) MOST *V);
  fine = vlm_fine_take (bed.run->fine);
  fine->view.threshold = 255;
  prepare (&bed, 0, fine);
  n = generate (&bed, fine, NULL, 4, ids, logits);
  g_assert_cmpint (generate (&bed, NULL, NULL, 4, plain_ids, plain), ==, n);
  g_assert_cmpmem (
      logits, n * V * sizeof (float), plain, n * V * sizeof (float));
  vlm_fine_give (fine);
  bed_clear (&bed);
}

/* The prompt's last token, whose logits these are, read once more. */
static void
read_last (GoldenRun *run, VlmSequence *seq, float *logits)
{
  g_autoptr (GError) error = NULL;
  int D = run->model->config.text.width, V = run->model->config.text.vocab;
  float *rows;

  vlm_sequence_truncate (seq, run->n_rows - 1);
  VlmStepInput last = { .seq = seq,
    .n = 1,
    .rows = run->x + (gsize) seq->length * D,
    .n_logits = 1,
    .rope_length = run->n_rows };
  g_assert_true (vlm_sequence_reserve (seq, run->n_rows));
  g_assert_true (vlm_decoder_step (run->decoder, &last, 1, &rows, &error));
  device_download (run->dev, logits, rows, V * sizeof (float));
}

/* Only the newest token looks closer, whatever the paper's formula covers: all
 * others, and what is cached of them, are those of the plain model. */
static void
test_prompt_is_plain (void)
{
  Bed bed;
  VlmFine *fine;
  VlmSequence seq;
  int id, V;
  g_autofree float *plain = NULL, *closer = NULL, *again = NULL;

  bed_init (&bed, "gqa");
  V = bed.run->model->config.text.vocab;
  plain = g_new (float, V);
  closer = g_new (float, V);
  again = g_new (float, V);
  fine = vlm_fine_take (bed.run->fine);
  prepare (&bed, 0, fine);
  generate (&bed, NULL, NULL, 1, &id, plain);
  vlm_sequence_init (&seq, bed.run->pool);
  prefill (&bed, fine, &seq, closer);
  g_assert_cmpuint (fine->selected[fine->store->layer], >, 0);
  read_last (bed.run, &seq, again);
  compare ("logits", again, plain, V, 1e-6);
  vlm_sequence_clear (&seq);
  vlm_fine_give (fine);
  bed_clear (&bed);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/flex-model/mha", "mha", test_model);
  g_test_add_data_func ("/flex-model/gqa", "gqa", test_model);
  g_test_add_data_func ("/flex-model/ragged", "ragged", test_model);
  g_test_add_func ("/flex-model/fills", test_fills);
  g_test_add_func ("/flex-model/without", test_without);
  g_test_add_func ("/flex-model/nothing-lit", test_nothing_lit);
  g_test_add_func ("/flex-model/prompt-is-plain", test_prompt_is_plain);
  return g_test_run ();
}
