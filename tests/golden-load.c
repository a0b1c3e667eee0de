/* golden-load.c - what a golden folder holds; see make-golden.py
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/golden-load.h"

#include <json-glib/json-glib.h>
#include <string.h>

static GoldenInts
read_ints (JsonObject *object, const char *name)
{
  JsonArray *array = json_object_get_array_member (object, name);
  GoldenInts ints = { .n = (int) json_array_get_length (array) };

  ints.values = g_new (int, ints.n);
  for (int i = 0; i < ints.n; i++)
    ints.values[i] = (int) json_array_get_int_element (array, i);
  return ints;
}

static float *
read_floats (JsonArray *array)
{
  int n = (int) json_array_get_length (array);
  float *values = g_new (float, n);

  for (int i = 0; i < n; i++)
    values[i] = (float) json_array_get_double_element (array, i);
  return values;
}

static int
read_int (JsonObject *object, const char *name)
{
  return (int) json_object_get_int_member (object, name);
}

static char *
read_text (JsonObject *object, const char *name)
{
  return g_strdup (json_object_get_string_member (object, name));
}

static void
read_ask (GoldenAsk *ask, JsonObject *object)
{
  JsonObject *params = json_object_get_object_member (object, "params");
  const char *policy = json_object_get_string_member (object, "policy");
  g_autoptr (GList) names = json_object_get_members (params);

  ask->policy = vlm_policy_find (policy)->name;
  ask->budget = json_object_get_double_member (object, "budget");
  ask->in_place =
      json_object_get_boolean_member_with_default (object, "in_place", FALSE);
  for (GList *name = names; name; name = name->next) {
    ask->param[ask->n_params].name = g_strdup (name->data);
    ask->param[ask->n_params++].value =
        json_object_get_double_member (params, name->data);
  }
}

static void
read_kept (GoldenKept *kept, JsonObject *object)
{
  read_ask (&kept->ask, object);
  kept->cut_margin = json_object_get_double_member (object, "cut_margin");
  kept->margin = json_object_get_double_member (object, "margin");
  kept->order = read_ints (object, "order");
  kept->per_tile = read_ints (object, "per_tile");
  if (json_object_has_member (object, "lines"))
    kept->lines = read_ints (object, "lines");
  kept->ids = read_ints (object, "ids");
  if (json_object_has_member (object, "means"))
    kept->means = read_floats (json_object_get_array_member (object, "means"));
}

/* The lists that make-golden-policies.py adds, one for each case. */
static void
read_policies (Golden *golden)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *path =
      g_build_filename (golden->folder, "policies.json", NULL);
  JsonArray *cases;

  if (!json_parser_load_from_file (parser, path, NULL))
    return;
  cases = json_node_get_array (json_parser_get_root (parser));
  g_assert_cmpint (json_array_get_length (cases), ==, golden->n_cases);
  for (int i = 0; i < golden->n_cases; i++) {
    GoldenCase *c = &golden->cases[i];
    JsonArray *kept = json_array_get_array_element (cases, i);
    int n = (int) json_array_get_length (kept);

    c->kept = g_renew (GoldenKept, c->kept, c->n_kept + n);
    memset (c->kept + c->n_kept, 0, n * sizeof *c->kept);
    for (int k = 0; k < n; k++)
      read_kept (
          &c->kept[c->n_kept++], json_array_get_object_element (kept, k));
  }
}

static void
read_picture (GoldenPicture *picture, JsonObject *object)
{
  JsonObject *crc = json_object_get_object_member (object, "crc");

  picture->width = read_int (object, "width");
  picture->height = read_int (object, "height");
  picture->seed = read_int (object, "seed");
  picture->image_tokens = read_int (object, "image_tokens");
  picture->crc[VLM_RESAMPLING_TORCHVISION] =
      (guint32) json_object_get_int_member (crc, "torchvision");
  picture->crc[VLM_RESAMPLING_PILLOW] =
      (guint32) json_object_get_int_member (crc, "pillow");
}

static void
read_case (GoldenCase *c, JsonObject *object)
{
  JsonArray *kept = json_object_get_array_member (object, "kept");

  read_picture (&c->picture, object);
  c->question = read_text (object, "question");
  c->rendered = read_text (object, "rendered");
  c->prompt_ids = read_ints (object, "prompt_ids");
  c->ids = read_ints (object, "ids");
  c->margin = json_object_get_double_member (object, "margin");
  c->n_kept = (int) json_array_get_length (kept);
  c->kept = g_new0 (GoldenKept, c->n_kept);
  for (int i = 0; i < c->n_kept; i++)
    read_kept (&c->kept[i], json_array_get_object_element (kept, i));
}

static void
read_cases (Golden *golden, JsonObject *root)
{
  JsonArray *cases = json_object_get_array_member (root, "cases");
  JsonArray *pictures = json_object_get_array_member (root, "pictures");
  const char *resampling = json_object_get_string_member (root, "resampling");

  golden->resampling = g_str_equal (resampling, "pillow")
                           ? VLM_RESAMPLING_PILLOW
                           : VLM_RESAMPLING_TORCHVISION;
  golden->n_cases = (int) json_array_get_length (cases);
  golden->cases = g_new0 (GoldenCase, golden->n_cases);
  for (int i = 0; i < golden->n_cases; i++)
    read_case (&golden->cases[i], json_array_get_object_element (cases, i));
  golden->n_pictures = (int) json_array_get_length (pictures);
  golden->pictures = g_new0 (GoldenPicture, golden->n_pictures);
  for (int i = 0; i < golden->n_pictures; i++)
    read_picture (
        &golden->pictures[i], json_array_get_object_element (pictures, i));
}

static void
read_arrays (Golden *golden)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path =
      g_build_filename (golden->folder, "golden.safetensors", NULL);
  gsize length;

  g_file_get_contents (path, &golden->bytes, &length, &error);
  g_assert_no_error (error);
  golden->arrays = vlm_safetensors_parse (
      (const guint8 *) golden->bytes, length, path, &error);
  g_assert_no_error (error);
}

Golden *
golden_load (const char *folder)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *path = g_build_filename (folder, "golden.json", NULL);
  Golden *golden;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return NULL;
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  golden = g_new0 (Golden, 1);
  golden->folder = g_strdup (folder);
  read_cases (golden, json_node_get_object (json_parser_get_root (parser)));
  read_policies (golden);
  read_arrays (golden);
  return golden;
}

static void
case_clear (GoldenCase *c)
{
  for (int i = 0; i < c->n_kept; i++) {
    for (int k = 0; k < c->kept[i].ask.n_params; k++)
      g_free (c->kept[i].ask.param[k].name);
    g_free (c->kept[i].order.values);
    g_free (c->kept[i].per_tile.values);
    g_free (c->kept[i].lines.values);
    g_free (c->kept[i].ids.values);
    g_free (c->kept[i].means);
  }
  g_free (c->kept);
  g_free (c->question);
  g_free (c->rendered);
  g_free (c->prompt_ids.values);
  g_free (c->ids.values);
}

void
golden_free (Golden *golden)
{
  if (!golden)
    return;
  for (int i = 0; i < golden->n_cases; i++)
    case_clear (&golden->cases[i]);
  g_free (golden->cases);
  g_free (golden->pictures);
  g_ptr_array_unref (golden->arrays);
  g_free (golden->bytes);
  g_free (golden->folder);
  g_free (golden);
}

const float *
golden_array (const Golden *golden, int i, const char *name, gsize *n)
{
  g_autofree char *full = g_strdup_printf ("%d.%s", i, name);

  for (guint j = 0; j < golden->arrays->len; j++) {
    const VlmTensor *tensor = g_ptr_array_index (golden->arrays, j);

    if (!g_str_equal (tensor->name, full))
      continue;
    g_assert_cmpint (tensor->type, ==, TYPE_F32);
    *n = tensor->bytes / sizeof (float);
    return (const float *) tensor->data;
  }
  g_error ("%s: no array %s", golden->folder, full);
}

guint8 *
golden_draw (const GoldenPicture *picture)
{
  guint8 *data = g_malloc ((gsize) picture->width * picture->height * 3);

  for (int y = 0; y < picture->height; y++)
    for (int x = 0; x < picture->width; x++) {
      guint8 *pixel = data + ((gsize) y * picture->width + x) * 3;

      pixel[0] =
          (guint8) (7 * x + 13 * y + ((x * y) >> 3) + 31 * picture->seed);
      pixel[1] = (guint8) (x * x / 7 + 3 * y);
      pixel[2] = (guint8) (x ^ (5 * y + picture->seed));
    }
  return data;
}

guint32
golden_crc (gconstpointer bytes, gsize n)
{
  const guint8 *p = bytes;
  guint32 crc = 0xffffffff;

  for (gsize i = 0; i < n; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  return ~crc;
}
