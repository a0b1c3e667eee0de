/* model-image.c - what the image processor's settings mean for a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Defaults: the class attributes of transformers' LlavaNextImageProcessor,
 * LlavaImageProcessor and CLIPImageProcessor.
 */
#include "engine/model-parse.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "engine/error.h"
#include "engine/image.h"

static const int default_pinpoint[][2] = {
  { 336, 672 },
  { 672, 336 },
  { 672, 672 },
  { 1008, 336 },
  { 336, 1008 },
};

/* "CLIPImageProcessorFast" is "CLIPImageProcessor". */
static gboolean
names_processor (const char *type, const char *name)
{
  gsize n = strlen (name);

  return !strncmp (type, name, n) &&
         (!type[n] || g_str_equal (type + n, "Fast") ||
             g_str_equal (type + n, "Pil"));
}

static const VlmImageProcessor *
find_processor (const VlmConfig *config, const VlmJson *json, GError **error)
{
  const VlmImageProcessor *list = config->family->processor;
  const char *type = list[0].type;
  g_autoptr (GString) expected = g_string_new (NULL);

  if (!vlm_json_get_string (json, "image_processor_type", &type, error))
    return NULL;
  for (int i = 0; list[i].type; i++) {
    if (names_processor (type, list[i].type))
      return &list[i];
    g_string_append_printf (
        expected, "%s\"%s\"", i ? " or " : "", list[i].type);
  }
  g_string_append_printf (
      expected, " for the family %s", config->family->model_type);
  vlm_json_fail (
      json, "image_processor_type", VLM_ERROR_WRONG_TYPE, expected->str, error);
  return NULL;
}

static gboolean
has_length (const VlmJson *json, const char *key, int expected)
{
  int length = -1;

  return vlm_json_node_int (vlm_json_member (json, key), &length) &&
         length == expected;
}

/* TRUE if `key` is absent (and the class default fits) or resolves to the
 * tile side as an int, as height and width, or, where allowed, as the
 * shortest edge. */
static gboolean
check_size (const VlmConfig *config, const VlmJson *json, const char *key,
    gboolean shortest, gboolean square, GError **error)
{
  int side = config->vision.image_size;
  VlmJson size;
  gboolean fits = FALSE;

  if (!vlm_json_has (json, key))
    fits = side == 224;
  else if (!JSON_NODE_HOLDS_OBJECT (vlm_json_member (json, key)))
    fits = has_length (json, key, side);
  else {
    if (!vlm_json_get_object (json, key, &size, error))
      return FALSE;
    if (vlm_json_has (&size, "shortest_edge"))
      fits = shortest && has_length (&size, "shortest_edge", side);
    else
      fits = square && vlm_json_has (&size, "height") &&
             vlm_json_has (&size, "width") &&
             has_length (&size, "height", side) &&
             has_length (&size, "width", side);
  }
  return fits ||
         vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
             "a size that gives tiles of vision_config.image_size %d", side);
}

static gboolean
check_true (const VlmJson *json, const char *key, GError **error)
{
  gboolean on = TRUE;

  if (!vlm_json_get_boolean (json, key, &on, error))
    return FALSE;
  return on || vlm_json_fail (json, key, VLM_ERROR_WRONG_TYPE, "true", error);
}

static gboolean
check_geometry (const VlmConfig *config, const VlmJson *json, GError **error)
{
  gboolean crops = config->image.mode == VLM_IMAGE_CENTRE_CROP;
  int resample = 3;

  if (!vlm_json_get_int (json, "resample", 0, 16, &resample, error) ||
      !check_true (json, "do_resize", error) ||
      !check_size (config, json, "size", TRUE, !crops, error))
    return FALSE;
  if (resample != 3)
    return vlm_json_fail (
        json, "resample", VLM_ERROR_WRONG_TYPE, "3 (bicubic)", error);
  if (crops && !check_true (json, "do_center_crop", error))
    return FALSE;
  return check_size (config, json, "crop_size", FALSE, TRUE, error);
}

/* A number for all channels or a list of three. */
static gboolean
get_channels (const VlmJson *json, const char *key, gboolean positive,
    double *values, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  JsonArray *list;

  if (!vlm_json_has (json, key))
    return TRUE;
  list = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  if (list && json_array_get_length (list) != 3)
    list = NULL, node = NULL;
  for (int c = 0; node && c < 3; c++) {
    JsonNode *item = list ? json_array_get_element (list, c) : node;
    GType type = JSON_NODE_HOLDS_VALUE (item) ? json_node_get_value_type (item)
                                              : G_TYPE_INVALID;
    double value = type == G_TYPE_DOUBLE || type == G_TYPE_INT64
                       ? json_node_get_double (item)
                       : 1e9;

    values[c] = value;
    if (!(value >= (positive ? 1e-6 : -1e6) && value <= 1e6))
      node = NULL;
  }
  return node || vlm_json_fail (json, key, VLM_ERROR_DATA,
                     positive ? N_ ("a list of three positive numbers")
                              : N_ ("a list of three numbers"),
                     error);
}

static gboolean
parse_levels (VlmImageConfig *image, const VlmJson *json, GError **error)
{
  static const double mean[] = { 0.48145466, 0.4578275, 0.40821073 };
  static const double std[] = { 0.26862954, 0.26130258, 0.27577711 };

  memcpy (image->mean, mean, sizeof mean);
  memcpy (image->std, std, sizeof std);
  image->rescale = 1 / 255.0;
  image->do_rescale = image->do_normalize = TRUE;
  return get_channels (json, "image_mean", FALSE, image->mean, error) &&
         get_channels (json, "image_std", TRUE, image->std, error) &&
         vlm_json_get_double (
             json, "rescale_factor", 1e-9, 1e6, &image->rescale, error) &&
         vlm_json_get_boolean (json, "do_rescale", &image->do_rescale, error) &&
         vlm_json_get_boolean (
             json, "do_normalize", &image->do_normalize, error);
}

static gboolean
read_pinpoint (JsonNode *node, int *pair)
{
  JsonArray *list =
      JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  return list && json_array_get_length (list) == 2 &&
         vlm_json_node_int (json_array_get_element (list, 0), &pair[0]) &&
         vlm_json_node_int (json_array_get_element (list, 1), &pair[1]);
}

/* A grid of whole tiles, and not too many. */
static gboolean
is_grid (const int pinpoint[2], int side)
{
  gint64 rows = pinpoint[0] / side, cols = pinpoint[1] / side;

  return rows > 0 && cols > 0 && pinpoint[0] % side == 0 &&
         pinpoint[1] % side == 0 && rows * cols < VLM_MAX_TILES;
}

/* The list under image_grid_pinpoints, or transformers' default. */
static gboolean
get_pinpoints (
    const VlmJson *json, int side, int pinpoint[][2], int *n, GError **error)
{
  const char *key = "image_grid_pinpoints";
  JsonNode *node = vlm_json_member (json, key);
  gboolean right = TRUE;

  *n = G_N_ELEMENTS (default_pinpoint);
  memcpy (pinpoint, default_pinpoint, sizeof default_pinpoint);
  if (vlm_json_has (json, key)) {
    right = JSON_NODE_HOLDS_ARRAY (node);
    *n = right ? (int) json_array_get_length (json_node_get_array (node)) : 0;
    right = *n >= 1 && *n <= VLM_MAX_PINPOINTS;
    for (int i = 0; right && i < *n; i++)
      right = read_pinpoint (
          json_array_get_element (json_node_get_array (node), i), pinpoint[i]);
  }
  for (int i = 0; right && i < *n; i++)
    right = is_grid (pinpoint[i], side);
  return right || vlm_json_fail_format (json, key, VLM_ERROR_DATA, error,
                      "a list of 1 to %d pairs [height, width], multiples of "
                      "vision_config.image_size %d and of at most %d tiles,",
                      VLM_MAX_PINPOINTS, side, VLM_MAX_TILES - 1);
}

/* transformers cuts tiles by the processor's list and packs features by the
 * model's, so they must agree. */
static gboolean
parse_pinpoints (VlmConfig *config, const VlmJson *top,
    const VlmJson *processor, GError **error)
{
  VlmImageConfig *image = &config->image;
  int side = config->vision.image_size, n;
  int other[VLM_MAX_PINPOINTS][2];

  if (!get_pinpoints (top, side, image->pinpoint, &image->n_pinpoints, error))
    return FALSE;
  if (!processor->object || config->original)
    return TRUE;
  if (!get_pinpoints (processor, side, other, &n, error))
    return FALSE;
  return (n == image->n_pinpoints &&
             !memcmp (other, image->pinpoint, sizeof *other * (gsize) n)) ||
         vlm_json_fail (processor, "image_grid_pinpoints", VLM_ERROR_DATA,
             "the same list as in config.json", error);
}

gboolean
vlm_config_parse_image (VlmConfig *config, const VlmJson *top,
    const VlmJson *processor, GError **error)
{
  const VlmImageProcessor *kind = NULL;
  gboolean pad = FALSE;

  if (!config->original) {
    kind = find_processor (config, processor, error);
    if (!kind || !vlm_json_get_boolean (processor, "do_pad", &pad, error))
      return FALSE;
    config->image.mode = pad ? kind->padded : kind->mode;
  }
  if (processor->object && !check_geometry (config, processor, error))
    return FALSE;
  if (!parse_levels (&config->image, processor, error))
    return FALSE;
  return !config->family->tiles ||
         parse_pinpoints (config, top, processor, error);
}
