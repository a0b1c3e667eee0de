/* json.h - typed reading of JSON whose failures are sentences
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thin layer over json-glib. Texts come from strangers, so they are checked
 * before json-glib sees them: UTF-8, strict tokens, one value, a bounded
 * depth (its parser recurses). A getter leaves the caller's default alone
 * when the key is absent or null, and fails with VLM_ERROR_DATA naming file,
 * key, expected and found when the value is of another kind.
 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

#define VLM_JSON_MAX_DEPTH 64

/* An object and the words that name it in messages. Borrows the object and
 * the strings; plain data, copy freely. A NULL object reads as an empty one. */
typedef struct {
  const char *file; /* "folder/config.json" */
  char path[160];   /* "" or "text_config." */
  JsonObject *object;
  const char *tensor; /* that it describes, in a header of weights, or NULL */
} VlmJson;

/* A whole regular file of at most `limit` bytes; *text is owned and ends in
 * a NUL that *length does not count. VLM_ERROR_NOT_FOUND if there is none. */
gboolean vlm_read_text (
    const char *path, gsize limit, char **text, gsize *length, GError **error);

/* The root object of a text, owned by the caller. With unique_keys a key that
 * occurs twice in one object is an error; otherwise the last one counts. */
JsonNode *vlm_json_parse (const char *text, gsize length, const char *file,
    gboolean unique_keys, GError **error);

/* A view of the root object; node may be NULL. */
VlmJson vlm_json_root (JsonNode *node, const char *file);

/* Present and not null; present and null. */
gboolean vlm_json_has (const VlmJson *json, const char *key);
gboolean vlm_json_is_null (const VlmJson *json, const char *key);

/* NULL when absent. Borrowed. */
JsonNode *vlm_json_member (const VlmJson *json, const char *key);

/* Whole numbers (4096.0 counts) within [minimum,maximum]. */
gboolean vlm_json_get_int (const VlmJson *json, const char *key, int minimum,
    int maximum, int *value, GError **error);

/* Finite numbers within [minimum,maximum]. */
gboolean vlm_json_get_double (const VlmJson *json, const char *key,
    double minimum, double maximum, double *value, GError **error);

gboolean vlm_json_get_boolean (
    const VlmJson *json, const char *key, gboolean *value, GError **error);

/* Borrowed from the JSON tree. */
gboolean vlm_json_get_string (
    const VlmJson *json, const char *key, const char **value, GError **error);

/* An empty view when the key is absent or null. */
gboolean vlm_json_get_object (
    const VlmJson *json, const char *key, VlmJson *value, GError **error);

/* One whole number or a list of at most `room` of them. *n stays when the key
 * is absent or null. */
gboolean vlm_json_get_ints (const VlmJson *json, const char *key, int minimum,
    int maximum, int *values, int room, int *n, GError **error);

/* Reads a node as a whole number that an int holds. */
gboolean vlm_json_node_int (JsonNode *node, int *value);

/* Reads a node as a whole number; FALSE if it is none or is inexact. */
gboolean vlm_json_node_int64 (JsonNode *node, gint64 *value);

/* Sets "FILE: KEY is FOUND, but EXPECTED was expected." and these as details;
 * returns FALSE. */
gboolean vlm_json_fail (const VlmJson *json, const char *key, int code,
    const char *expected, GError **error);

/* The same for what is expected with numbers in it. */
gboolean vlm_json_fail_format (const VlmJson *json, const char *key, int code,
    GError **error, const char *format, ...) G_GNUC_PRINTF (5, 6);

G_END_DECLS
