/* quiz-read.c - a quiz and its pictures, from files
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "models/quiz.h"

#include <cairo.h>

#include "engine/error.h"
#include "engine/json.h"

#define MAX_QUIZ_BYTES (64 << 20)

static void
check_free (gpointer data)
{
  QuizCheck *check = data;

  g_free (check->kind);
  g_strfreev (check->expect);
  g_strfreev (check->of);
  g_free (check);
}

static void
question_free (gpointer data)
{
  QuizQuestion *question = data;

  g_free (question->prompt);
  g_ptr_array_unref (question->checks);
  g_free (question);
}

static void
picture_free (gpointer data)
{
  VlmPicture *picture = data;

  g_free ((guint8 *) picture->data);
  g_free (picture);
}

void
quiz_free (Quiz *quiz)
{
  g_ptr_array_unref (quiz->pictures);
  g_ptr_array_unref (quiz->questions);
  g_ptr_array_unref (quiz->kinds);
  g_free (quiz);
}

static VlmPicture *
picture_new (cairo_surface_t *surface)
{
  VlmPicture *picture = g_new0 (VlmPicture, 1);
  int w = cairo_image_surface_get_width (surface);
  int h = cairo_image_surface_get_height (surface);
  int stride = cairo_image_surface_get_stride (surface);
  const guint8 *from = cairo_image_surface_get_data (surface);
  guint8 *to = g_malloc ((gsize) w * h * 3);

  *picture = (VlmPicture){ to, w, h, (gsize) w * 3, 1, 1 };
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++, to += 3) {
      guint32 pixel = ((const guint32 *) (from + (gsize) y * stride))[x];

      to[0] = pixel >> 16;
      to[1] = pixel >> 8;
      to[2] = pixel;
    }
  return picture;
}

static VlmPicture *
read_picture (const char *file, GError **error)
{
  cairo_surface_t *surface = cairo_image_surface_create_from_png (file);
  cairo_status_t status = cairo_surface_status (surface);
  cairo_format_t format = cairo_image_surface_get_format (surface);
  VlmPicture *picture = NULL;

  if (status != CAIRO_STATUS_SUCCESS)
    g_set_error (error, VLM_ERROR, VLM_ERROR_DATA, "%s: %s.", file,
        cairo_status_to_string (status));
  else if (format != CAIRO_FORMAT_RGB24 && format != CAIRO_FORMAT_ARGB32)
    g_set_error (error, VLM_ERROR, VLM_ERROR_DATA,
        "%s: 8 bits a channel were expected.", file);
  else
    picture = picture_new (surface);
  cairo_surface_destroy (surface);
  return picture;
}

/* The list of objects under `key`, as views. */
static gboolean
get_objects (const VlmJson *json, const char *key, GArray *list, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);

  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "a list", error);
  JsonArray *array = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *item = json_array_get_element (array, i);
    VlmJson view = { .file = json->file };

    if (!JSON_NODE_HOLDS_OBJECT (item))
      return vlm_json_fail (
          json, key, VLM_ERROR_DATA, "a list of objects", error);
    g_snprintf (view.path, sizeof view.path, "%s%s[%u].", json->path, key, i);
    view.object = json_node_get_object (item);
    g_array_append_val (list, view);
  }
  return TRUE;
}

/* A list of strings, or NULL where there is none. */
static gboolean
get_strings (
    const VlmJson *json, const char *key, char ***strings, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func (g_free);

  if (!node || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "a list", error);
  JsonArray *array = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *item = json_array_get_element (array, i);

    if (json_node_get_value_type (item) != G_TYPE_STRING)
      return vlm_json_fail (
          json, key, VLM_ERROR_DATA, "a list of strings", error);
    g_ptr_array_add (list, json_node_dup_string (item));
  }
  g_ptr_array_add (list, NULL);
  *strings = (char **) g_ptr_array_free (g_steal_pointer (&list), FALSE);
  return TRUE;
}

static gboolean
get_text (const VlmJson *json, const char *key, char **text, GError **error)
{
  const char *value = NULL;

  if (!vlm_json_get_string (json, key, &value, error))
    return FALSE;
  if (!value)
    return vlm_json_fail (json, key, VLM_ERROR_DATA, "a string", error);
  *text = g_strdup (value);
  return TRUE;
}

static void
remember_kind (Quiz *quiz, const char *kind)
{
  if (!g_ptr_array_find_with_equal_func (quiz->kinds, kind, g_str_equal, NULL))
    g_ptr_array_add (quiz->kinds, g_strdup (kind));
}

static gboolean
read_check (
    Quiz *quiz, QuizQuestion *question, const VlmJson *json, GError **error)
{
  QuizCheck *check = g_new0 (QuizCheck, 1);

  g_ptr_array_add (question->checks, check);
  if (!get_text (json, "kind", &check->kind, error) ||
      !get_strings (json, "expect", &check->expect, error) ||
      !get_strings (json, "of", &check->of, error))
    return FALSE;
  if (!check->expect)
    return vlm_json_fail (json, "expect", VLM_ERROR_DATA, "a list", error);
  remember_kind (quiz, check->kind);
  return TRUE;
}

static gboolean
read_question (Quiz *quiz, const VlmJson *json, GError **error)
{
  g_autoptr (GArray) checks = g_array_new (FALSE, FALSE, sizeof (VlmJson));
  QuizQuestion *question = g_new0 (QuizQuestion, 1);

  question->checks = g_ptr_array_new_with_free_func (check_free);
  question->picture = quiz->pictures->len - 1;
  g_ptr_array_add (quiz->questions, question);
  if (!get_text (json, "prompt", &question->prompt, error) ||
      !get_objects (json, "checks", checks, error))
    return FALSE;
  for (guint i = 0; i < checks->len; i++)
    if (!read_check (
            quiz, question, &g_array_index (checks, VlmJson, i), error))
      return FALSE;
  return TRUE;
}

static gboolean
read_one (Quiz *quiz, const char *folder, const VlmJson *json, GError **error)
{
  g_autoptr (GArray) questions = g_array_new (FALSE, FALSE, sizeof (VlmJson));
  g_autofree char *name = NULL;

  if (!get_text (json, "file", &name, error) ||
      !get_objects (json, "questions", questions, error))
    return FALSE;
  g_autofree char *file = g_build_filename (folder, name, NULL);
  VlmPicture *picture = read_picture (file, error);
  if (!picture)
    return FALSE;
  g_ptr_array_add (quiz->pictures, picture);
  for (guint i = 0; i < questions->len; i++)
    if (!read_question (quiz, &g_array_index (questions, VlmJson, i), error))
      return FALSE;
  return TRUE;
}

Quiz *
quiz_read (const char *file, GError **error)
{
  g_autoptr (Quiz) quiz = g_new0 (Quiz, 1);
  g_autoptr (GArray) pictures = g_array_new (FALSE, FALSE, sizeof (VlmJson));
  g_autofree char *folder = g_path_get_dirname (file);
  g_autofree char *text = NULL;
  gsize length;

  quiz->pictures = g_ptr_array_new_with_free_func (picture_free);
  quiz->questions = g_ptr_array_new_with_free_func (question_free);
  quiz->kinds = g_ptr_array_new_with_free_func (g_free);
  if (!vlm_read_text (file, MAX_QUIZ_BYTES, &text, &length, error))
    return NULL;
  g_autoptr (JsonNode) root = vlm_json_parse (text, length, file, TRUE, error);
  if (!root)
    return NULL;
  VlmJson json = vlm_json_root (root, file);
  if (!get_objects (&json, "pictures", pictures, error))
    return NULL;
  for (guint i = 0; i < pictures->len; i++)
    if (!read_one (quiz, folder, &g_array_index (pictures, VlmJson, i), error))
      return NULL;
  return g_steal_pointer (&quiz);
}

void
quiz_truncate (Quiz *quiz, guint n)
{
  guint kept = 0;

  while (kept < quiz->questions->len &&
         ((QuizQuestion *) quiz->questions->pdata[kept])->picture < n)
    kept++;
  g_ptr_array_set_size (quiz->questions, (gint) kept);
  g_ptr_array_set_size (quiz->pictures, (gint) MIN (n, quiz->pictures->len));
}
