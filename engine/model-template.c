/* model-template.c - which of a folder's chat templates counts
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' ProcessorMixin.get_processor_dict, then the
 * tokenizer's own.
 */
#include "engine/model-parse.h"

#include <glib/gi18n-lib.h>

#include "engine/error.h"

#define MAX_BYTES (16 << 20)

/* "default" of a list of {name, template}, or NULL. */
static const char *
find_default (JsonArray *list)
{
  for (guint i = 0; i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    VlmJson entry = { .file = "" };
    const char *name = "", *text = NULL;

    if (!JSON_NODE_HOLDS_OBJECT (node))
      continue;
    entry.object = json_node_get_object (node);
    if (vlm_json_get_string (&entry, "name", &name, NULL) &&
        vlm_json_get_string (&entry, "template", &text, NULL) && text &&
        g_str_equal (name, "default"))
      return text;
  }
  return NULL;
}

/* Reads chat_template from a JSON file, if both are there: a string, a list
 * of {name, template} or an object of templates by name. */
static gboolean
read_json (
    const char *folder, const char *file, char **chat_template, GError **error)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);
  g_autofree char *text = NULL;
  g_autoptr (JsonNode) root = NULL;
  const char *key = "chat_template", *found = NULL;
  JsonNode *node;
  VlmJson json, by_name;
  gsize length;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  if (!vlm_read_text (path, MAX_BYTES, &text, &length, error))
    return FALSE;
  root = vlm_json_parse (text, length, path, FALSE, error);
  if (!root)
    return FALSE;
  json = vlm_json_root (root, path);
  if (!vlm_json_has (&json, key))
    return TRUE;
  node = vlm_json_member (&json, key);
  if (JSON_NODE_HOLDS_ARRAY (node))
    found = find_default (json_node_get_array (node));
  else if (JSON_NODE_HOLDS_OBJECT (node)) {
    if (!vlm_json_get_object (&json, key, &by_name, error) ||
        !vlm_json_get_string (&by_name, "default", &found, error))
      return FALSE;
  } else if (!vlm_json_get_string (&json, key, &found, error))
    return FALSE;
  if (!found)
    return vlm_json_fail (&json, key, VLM_ERROR_DATA,
        "a template or a list with one named \"default\"", error);
  *chat_template = g_strdup (found);
  return TRUE;
}

static gboolean
read_jinja (const char *folder, char **chat_template, GError **error)
{
  g_autofree char *path =
      g_build_filename (folder, "chat_template.jinja", NULL);
  g_autofree char *text = NULL;
  gsize length;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  if (!vlm_read_text (path, MAX_BYTES, &text, &length, error))
    return FALSE;
  if (!g_utf8_validate (text, (gssize) length, NULL))
    return vlm_fail_expected (error, VLM_ERROR_DATA, path,
        "a template in UTF-8", N_ ("bytes that are not UTF-8 were found"));
  *chat_template = g_steal_pointer (&text);
  return TRUE;
}

gboolean
vlm_model_read_template (
    const char *folder, char **chat_template, const char **file, GError **error)
{
  static const char *const files[] = { "processor_config.json",
    "chat_template.json", "chat_template.jinja", "tokenizer_config.json" };

  *chat_template = NULL;
  for (guint i = 0; i < G_N_ELEMENTS (files) && !*chat_template; i++) {
    gboolean jinja = g_str_has_suffix (files[i], ".jinja");

    *file = files[i];
    if (jinja ? !read_jinja (folder, chat_template, error)
              : !read_json (folder, *file, chat_template, error))
      return FALSE;
  }
  return TRUE;
}
