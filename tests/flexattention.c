/* flexattention.c - FlexAttention's second look, against the published method
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The selection and the rotation on their own, and what config.json may say.
 * Where paper, release and engine differ, docs/model.md (section 7) says how
 * and why, and these tests show what is done here:
 *
 * - a threshold and cells that overlap, padding out: select
 * - the picture's size is always known: select-sizes
 * - rotation by resized tables: rotation
 * - extra: strings, the defaults of the release: config
 * - other classes, grids of tiles, random cells: refused
 * - fine keys are made once, not for every token: flex-model fills
 * - grouped queries share fine keys: flex-model gqa
 * - the next layer's map is without fine keys: flex-model mha
 * - the newest token alone looks closer: flex-model prompt-is-plain
 * - nothing is left of the picture before: flex-engine answers
 * - each sequence has its own place and selection: flex-engine places
 */
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/fine.h"
#include "engine/policy.h"
#include "tests/flex-reference.h"

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
  FlexShape shape = { .g = 24, .G = 72 };
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
          row[j], flex_rotation (&shape, 35, y, x, freq, FALSE), 1e-4);
      g_assert_cmpfloat_with_epsilon (
          row[half + j], flex_rotation (&shape, 35, y, x, freq, TRUE), 1e-4);
    }
    if (y % 3 == 1 && x % 3 == 1) /* a copy of its image token */
      g_assert_cmpfloat (row[0], ==, cosf (35 + y / 3 * 24 + x / 3));
  }
  g_assert_cmpfloat_with_epsilon (least, 0.26, 0.01);
  g_assert_cmpfloat_with_epsilon (most, 1.25, 0.01);
}

/* Each fine token has a row, cell after cell, and is of the cell that the
 * release stretches over it; 9 need not divide the side. */
static void
test_rows (void)
{
  static const int sides[] = { 72, 16, 48, 5, 9, 168 };

  for (gsize k = 0; k < G_N_ELEMENTS (sides); k++) {
    int G = sides[k], n = 0;
    VlmFineView view = { .side = 1, .fine_side = G };
    g_autofree guint8 *seen = g_malloc0 (G * G);

    for (int i = 0; i < G * G; i++) {
      int row = vlm_fine_row (&view, i / G, i % G);
      VlmFineCell cell = vlm_fine_cell (G, i / G * 9 / G * 9 + i % G * 9 / G);

      g_assert_cmpint (row, >=, cell.first);
      g_assert_cmpint (row, <, cell.first + cell.n);
      g_assert_false (seen[row]);
      seen[row] = TRUE;
    }
    for (int i = 0; i < VLM_FINE_CELLS; i++) {
      g_assert_cmpint (vlm_fine_cell (G, i).first, ==, n);
      n += vlm_fine_cell (G, i).n;
    }
    g_assert_cmpint (n, ==, G * G);
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
    int ratio, threshold, layer;
  } good[] = {
    { FLEX (RELEASED ",\"threshold\":\"48\"", ""), 3, 48, 9 },
    { FLEX (RELEASED, ""), 3, 64, 9 },
    { FLEX ("\"zoom_ratio\":2,\"threshold\":7", ""), 2, 7, 9 },
    { FLEX ("\"zoom_ratio\":3,\"first_layer\":\"2\"", ""), 3, 64, 2 },
    { FLEX ("\"threshold\":\"48\"", ""), 0, 0, 0 },
    { FLEX ("", ""), 0, 0, 0 },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    VlmConfig c;

    vlm_config_parse (&c, "m", &(VlmConfigTexts){ good[i].json }, &error);
    g_assert_no_error (error);
    g_assert_cmpint (c.zoom.ratio, ==, good[i].ratio);
    g_assert_cmpint (c.zoom.threshold, ==, good[i].threshold);
    g_assert_cmpint (c.zoom.layer, ==, good[i].layer);
    g_assert_cmpint (c.family->zooms, ==, good[i].ratio > 0);
    g_assert_cmpint (c.image.mode, ==,
        good[i].ratio ? VLM_IMAGE_ZOOM : VLM_IMAGE_PAD_SQUARE);
    g_assert_cmpstr (
        vlm_policy_of (&c)->name, ==, good[i].ratio ? "all" : "hired");
    vlm_config_clear (&c);
  }
}

/* The release has the method in Llama only, for pictures padded to a square:
 * its way of tiles never makes the finer tokens and fails. Its random ablation
 * draws on another grid than the selector's. */
static void
test_refused (void)
{
  static const struct {
    const char *json, *needle;
  } bad[] = {
    { FLEX (RELEASED ",\"threshold\":\"many\"", ""), "extra.threshold" },
    { FLEX (RELEASED ",\"threshold\":\"256\"", ""), "0 to 255" },
    { FLEX (RELEASED ",\"special\":\"random\"", ""), "ablation" },
    { "{\"model_type\":\"llava_next\",\"extra\":{" RELEASED "}}",
        "tiles of any resolution" },
    { FLEX ("\"zoom_ratio\":\"3\",\"first_layer\":\"0\"", ""),
        "extra.first_layer" },
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

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/flexattention/select", test_select);
  g_test_add_func ("/flexattention/select-sizes", test_select_sizes);
  g_test_add_func ("/flexattention/rotation", test_rotation);
  g_test_add_func ("/flexattention/rows", test_rows);
  g_test_add_func ("/flexattention/config", test_config);
  g_test_add_func ("/flexattention/refused", test_refused);
  return g_test_run ();
}
