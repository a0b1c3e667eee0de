/* flexattention.c - FlexAttention's second look, against the published method
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The selection and the rotation on their own, the refusals, and whole models
 * against goldens of make-golden-flexattention.py, on the processor or, with
 * GOLDEN_DEVICE=cuda, on that device in f32. What the release does otherwise
 * is named where it is tested.
 */
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/prompt.h"
#include "tests/golden-run.h"

#define MARGIN 1e-3
#define SELECT_MARGIN 1e-2 /* of 255 */
#define LOGITS 1e-4
#define MOST 16 /* tokens of a case */

/* ---- the selection ---- */

typedef struct {
  int y, x;
  float value;
} Peak;

static const Peak peaks[] = { { 5, 2, 1 }, { 13, 20, 0.5f }, { 23, 23, 0.25f },
  { 0, 12, 0.9f }, { 10, 10, 46.0f / 255 } };

static void
assert_cells (int width, int height, int margin, const char *expected)
{
  VlmFineView view = { 24, 72, 35, width, height, 48 };
  g_autoptr (GString) found = g_string_new (NULL);
  float map[24 * 24] = { 0 };
  guint8 lit[VLM_FINE_CELLS];
  int n, counted = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (peaks); i++)
    map[peaks[i].y * 24 + peaks[i].x] = peaks[i].value;
  n = vlm_fine_select (&view, map, lit);
  for (int i = 0; i < VLM_FINE_CELLS; i++)
    if (lit[i]) {
      g_string_append_printf (found, "%d%d ", i / 9, i % 9);
      counted++;
    }
  g_assert_cmpint (vlm_fine_margin (&view), ==, margin);
  g_assert_cmpstr (found->str, ==, expected);
  g_assert_cmpint (n, ==, counted);
}

/* Windows overlap, so that one peak lights up to four cells; padding is taken
 * out before the map is stretched, which may lift what is left above the
 * threshold. */
static void
test_select (void)
{
  assert_cells (500, 500, 0, "04 10 11 20 21 47 57 88 ");
  assert_cells (641, 640, 0, "04 10 11 20 21 47 57 88 ");
  assert_cells (640, 480, 3, "10 11 20 21 47 57 ");
  assert_cells (480, 640, 3, "04 33 34 43 44 47 57 ");
  assert_cells (1920, 1080, 5, "10 11 20 21 47 57 ");
  g_assert_cmpint (
      vlm_fine_margin (&(VlmFineView){ 24, 72, 0, 1000, 300, 0 }), ==, 8);
  g_assert_cmpint (
      vlm_fine_margin (&(VlmFineView){ 24, 72, 0, 700, 640, 0 }), ==, 1);
}

/* The threshold is one, not a share: the selection has any size. A map of
 * equal values selects nothing, where 0/0 compares with nothing. */
static void
test_select_sizes (void)
{
  VlmFineView view = { 24, 72, 5, 100, 100, 48 };
  float map[24 * 24];
  guint8 lit[VLM_FINE_CELLS];

  for (int i = 0; i < 24 * 24; i++)
    map[i] = powf ((7 * (i / 24) + 13 * (i % 24)) % 97, 8);
  g_assert_cmpint (vlm_fine_select (&view, map, lit), ==, 55);
  view.threshold = 200;
  g_assert_cmpint (vlm_fine_select (&view, map, lit), ==, 25);
  for (int i = 0; i < 24 * 24; i++)
    map[i] = 0.25f;
  g_assert_cmpint (vlm_fine_select (&view, map, lit), ==, 0);
}

/* ---- the rotation ---- */

static double
cubic (double x)
{
  x = fabs (x);
  if (x <= 1)
    return 1.25 * x * x * x - 2.25 * x * x + 1;
  return x < 2 ? -0.75 * x * x * x + 3.75 * x * x - 6 * x + 3 : 0;
}

/* All taps of a fine token at once, in doubles. */
static double
rotation (int begin, int y, int x, double freq, gboolean sine)
{
  double cy = (y + 0.5) / 3 - 0.5, cx = (x + 0.5) / 3 - 0.5, sum = 0;

  for (int v = (int) floor (cy) - 1; v <= (int) floor (cy) + 2; v++)
    for (int u = (int) floor (cx) - 1; u <= (int) floor (cx) + 2; u++) {
      int at = CLAMP (v, 0, 23) * 24 + CLAMP (u, 0, 23);
      double angle = (begin + at) * freq;

      sum +=
          cubic (cy - v) * cubic (cx - u) * (sine ? sin (angle) : cos (angle));
    }
  return sum;
}

/* Tables are interpolated, not angles, so that radii are no longer 1: what the
 * model was trained with, and kept. */
static void
test_rotation (void)
{
  int window = 0, c = 128, half = c / 2;
  VlmTextConfig text = { .head_width = c,
    .window = &window,
    .rope = { .theta = 10000, .factor = 1, .attention_factor = 1 } };
  VlmFineView view = { 24, 72, 35, 1, 1, 48 };
  g_autofree float *table = g_new (float, 72 * 72 * c);
  double least = 9, most = 0;

  vlm_fine_rope (&text, &view, 700, table);
  for (int i = 0; i < 72 * 72; i++) {
    int y = i / 72, x = i % 72;
    const float *row = table + vlm_fine_row (&view, y, x) * c;

    for (int j = 0; j < half; j++) {
      double radius = hypot (row[j], row[half + j]);

      least = MIN (least, radius);
      most = MAX (most, radius);
    }
    for (int j = i % 13; j < half; j += 13) {
      double freq = pow (10000, -j / (double) half);

      g_assert_cmpfloat_with_epsilon (
          row[j], rotation (35, y, x, freq, FALSE), 1e-4);
      g_assert_cmpfloat_with_epsilon (
          row[half + j], rotation (35, y, x, freq, TRUE), 1e-4);
    }
    if (y % 3 == 1 && x % 3 == 1) /* a copy of its image token */
      g_assert_cmpfloat (row[0], ==, cosf (35 + y / 3 * 24 + x / 3));
  }
  g_assert_cmpfloat_with_epsilon (least, 0.26, 0.01);
  g_assert_cmpfloat_with_epsilon (most, 1.25, 0.01);
}

/* Each fine token has a row, cell after cell. */
static void
test_rows (void)
{
  VlmFineView view = { .side = 24, .fine_side = 72 };
  g_autofree guint8 *seen = g_malloc0 (72 * 72);

  for (int i = 0; i < 72 * 72; i++) {
    int row = vlm_fine_row (&view, i / 72, i % 72);

    g_assert_cmpint (row / 64, ==, i / 72 / 8 * 9 + i % 72 / 8);
    g_assert_false (seen[row]);
    seen[row] = TRUE;
  }
}

/* ---- config.json ---- */

#define FLEX(extra, more)                                                      \
  "{\"model_type\":\"llava\",\"mm_projector_type\":\"mlp2x_gelu\","            \
  "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\","                 \
  "\"image_aspect_ratio\":\"pad\"" more ",\"extra\":{" extra "}}"
#define RELEASED                                                               \
  "\"zoom_ratio\":\"3\",\"highres_size\":\"1008\","                            \
  "\"lowres_size\":\"336\",\"warmup\":\"10\""

/* Values are strings; an absent threshold is 64, not the released 48. */
static void
test_config (void)
{
  static const struct {
    const char *json;
    int ratio, threshold;
  } good[] = {
    { FLEX (RELEASED ",\"threshold\":\"48\"", ""), 3, 48 },
    { FLEX (RELEASED, ""), 3, 64 },
    { FLEX ("\"zoom_ratio\":3,\"threshold\":7", ""), 3, 7 },
    { FLEX ("\"threshold\":\"48\"", ""), 0, 0 },
    { FLEX ("", ""), 0, 0 },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    VlmConfig c;

    vlm_config_parse (&c, "m", &(VlmConfigTexts){ good[i].json }, &error);
    g_assert_no_error (error);
    g_assert_cmpint (c.zoom.ratio, ==, good[i].ratio);
    g_assert_cmpint (c.zoom.threshold, ==, good[i].threshold);
    g_assert_cmpint (c.family->zooms, ==, good[i].ratio > 0);
    g_assert_cmpint (c.image.mode, ==,
        good[i].ratio ? VLM_IMAGE_ZOOM : VLM_IMAGE_PAD_SQUARE);
    g_assert_cmpstr (
        vlm_policy_of (&c)->name, ==, good[i].ratio ? "all" : "hired");
    vlm_config_clear (&c);
  }
}

/* The release has the method in Llama only, for pictures padded to a square;
 * its random ablation draws on another grid than the selector's. */
static void
test_refused (void)
{
  static const struct {
    const char *json, *needle;
  } bad[] = {
    { FLEX (RELEASED ",\"threshold\":\"many\"", ""), "extra.threshold" },
    { FLEX (RELEASED ",\"threshold\":\"256\"", ""), "0 to 255" },
    { FLEX (RELEASED ",\"special\":\"random\"", ""), "ablation" },
    { FLEX ("\"zoom_ratio\":\"2\"", ""), "multiple of 72 fine patches" },
    { FLEX ("\"zoom_ratio\":\"3\",\"highres_size\":\"672\"", ""),
        "highres_size is \"672\", but 1008" },
    { FLEX ("\"zoom_ratio\":\"3\",\"lowres_size\":\"224\"", ""),
        "lowres_size is \"224\", but 336" },
    { "{\"model_type\":\"llava_mistral\",\"mm_projector_type\":\"mlp2x_gelu\","
      "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\","
      "\"image_aspect_ratio\":\"pad\",\"extra\":{" RELEASED "}}",
        "only Llama models" },
    { "{\"model_type\":\"llava\",\"mm_projector_type\":\"mlp2x_gelu\","
      "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\","
      "\"extra\":{" RELEASED "}}",
        "padded to a square" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    VlmConfig c;

    g_assert_false (
        vlm_config_parse (&c, "m", &(VlmConfigTexts){ bad[i].json }, &error));
    g_test_message ("%s", error->message);
    if (!strstr (error->message, bad[i].needle))
      g_error ("\"%s\" lacks %s", error->message, bad[i].needle);
  }
}

/* ---- whole models ---- */

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
  g_assert_cmpint (n_rows, ==, 24 * 24);
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
  int D = bed->run->model->config.text.width, n = 72 * 72;
  g_autofree float *stored = g_new (float, n *D), *rows = g_new (float, n *D);

  device_download (
      bed->run->dev, stored, fine->features, (gsize) n * D * sizeof (float));
  for (int k = 0; k < n; k++)
    memcpy (rows + (gsize) k * D,
        stored + (gsize) vlm_fine_row (&fine->view, k / 72, k % 72) * D,
        D * sizeof (float));
  check_means (bed, "fine", i, rows, n);
}

/* Lit cells of a step, of the layer that is asked for last. */
static int
expected_tokens (JsonObject *c, int step, int layer)
{
  JsonArray *steps = json_object_get_array_member (c, "lit");
  JsonArray *layers = json_array_get_array_element (steps, step);

  return 64 * json_array_get_length (
                  json_array_get_array_element (layers, layer - 9));
}

static void
check_last_lit (JsonObject *c, int step, const VlmFine *fine, int n_layers)
{
  JsonArray *steps = json_object_get_array_member (c, "lit");
  JsonArray *cells = json_array_get_array_element (
      json_array_get_array_element (steps, step), n_layers - 1 - 9);
  int n = json_array_get_length (cells);

  g_assert_cmpint (fine->n_lit, ==, n);
  for (int k = 0; k < n; k++)
    g_assert_true (fine->lit[json_array_get_int_element (cells, k)]);
}

/* Greedy from the spliced prompt, in steps of 100 tokens. Compares logits and
 * selections if `c`. Returns the number of ids. */
static int
generate (
    Bed *bed, VlmFine *fine, JsonObject *c, int most, int *ids, float *logits)
{
  GoldenRun *run = bed->run;
  g_autoptr (GError) error = NULL;
  int D = run->model->config.text.width, V = run->model->config.text.vocab;
  int layers = run->model->config.text.layers, n = 0;
  g_autofree guint64 *before = g_new0 (guint64, layers);
  VlmSequence seq;

  vlm_sequence_init (&seq, run->pool);
  while (n < most) {
    int left = run->n_rows - seq.length, count = CLAMP (left, 1, 100);
    VlmStepInput in = { .seq = &seq,
      .n = count,
      .ids = left > 0 ? NULL : &ids[n - 1],
      .rows = act_at (run->dev, run->x, (gsize) seq.length * D),
      .n_logits = left <= 100,
      .rope_length = MAX (run->n_rows, seq.length + 1),
      .fine = fine };
    float *rows;
    int best = 0;

    g_assert_true (vlm_sequence_reserve (&seq, seq.length + count));
    g_assert_true (vlm_decoder_step (run->decoder, &in, 1, &rows, &error));
    if (!in.n_logits)
      continue;
    device_download (
        run->dev, logits + (gsize) n * V, rows, V * sizeof (float));
    for (int k = 1; k < V; k++)
      if (logits[(gsize) n * V + k] > logits[(gsize) n * V + best])
        best = k;
    ids[n++] = best;
    if (c) {
      check_last_lit (c, n - 1, fine, layers);
      for (int l = VLM_FINE_LAYER; l < layers; l++) {
        g_assert_cmpuint (
            fine->selected[l] - before[l], ==, expected_tokens (c, n - 1, l));
        before[l] = fine->selected[l];
      }
    }
    if (best == 2)
      break;
  }
  g_assert_cmpint (seq.length, ==, run->n_rows + n - 1);
  vlm_sequence_clear (&seq);
  return n;
}

/* Cells that a layer has keys of are those it was told to look at. */
static void
check_filled (JsonObject *c, const VlmFine *fine, int n_layers)
{
  JsonArray *steps = json_object_get_array_member (c, "lit");

  for (int l = VLM_FINE_LAYER; l < n_layers; l++) {
    guint8 wanted[VLM_FINE_CELLS] = { 0 };

    for (guint s = 0; s < json_array_get_length (steps); s++) {
      JsonArray *cells = json_array_get_array_element (
          json_array_get_array_element (steps, s), l - 9);

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
  Bed bed;

  bed_init (&bed, name);
  for (guint i = 0; i < json_array_get_length (bed.cases); i++)
    check_case (&bed, i, VLM_FINE_LAZY);
  bed_clear (&bed);
}

/* Keys that are kept, computed before or computed for every token anew as in
 * the release give the same text. */
static void
test_fills (void)
{
  Bed bed;

  bed_init (&bed, "mha");
  check_case (&bed, 0, VLM_FINE_FULL);
  check_case (&bed, 0, VLM_FINE_NONE);
  bed_clear (&bed);
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

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!g_getenv ("GOLDEN_DEVICE")) {
    g_test_add_func ("/flexattention/select", test_select);
    g_test_add_func ("/flexattention/select-sizes", test_select_sizes);
    g_test_add_func ("/flexattention/rotation", test_rotation);
    g_test_add_func ("/flexattention/rows", test_rows);
    g_test_add_func ("/flexattention/config", test_config);
    g_test_add_func ("/flexattention/refused", test_refused);
  }
  g_test_add_data_func ("/flexattention/model/mha", "mha", test_model);
  g_test_add_data_func ("/flexattention/model/gqa", "gqa", test_model);
  g_test_add_func ("/flexattention/fills", test_fills);
  g_test_add_func ("/flexattention/without", test_without);
  return g_test_run ();
}
