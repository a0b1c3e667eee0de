/* tokenizer-steps.c - normalizer, pre-tokenizer and decoder of tokenizer.json
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sequences are flattened into a list of steps. What is not known is refused.
 */
#include "engine/tokenizer-read.h"

#include <string.h>

#include "engine/error.h"

/* Each word step may walk the next one for each word. */
#define MAX_STEPS 32

/* Adds the steps of one part, which is not a sequence. */
typedef gboolean (*ReadStep) (
    GArray *steps, const VlmJson *json, const char *type, GError **error);

gboolean
vlm_tokenizer_refuse (const VlmJson *json, const char *what, GError **error)
{
  g_autofree char *key = g_strdup (json->path);
  if (*key)
    key[strlen (key) - 1] = '\0'; /* the dot */
  return vlm_fail (error, VLM_ERROR_WRONG_TYPE,
      VLM_ABOUT (.file = json->file, .key = key, .found = what),
      "%s: %s: %s is not implemented.", json->file, key, vlm_text (what));
}

static gboolean
refuse_type (const VlmJson *json, const char *type, GError **error)
{
  g_autofree char *what = g_strdup_printf ("the type \"%s\"", type);
  return vlm_tokenizer_refuse (json, what, error);
}

/* A string that must be there, and be more than nothing. */
static gboolean
need_string (
    const VlmJson *json, const char *key, const char **value, GError **error)
{
  *value = NULL;
  if (!vlm_json_get_string (json, key, value, error))
    return FALSE;
  return (*value && **value) || vlm_json_fail (json, key, VLM_ERROR_DATA,
                                    "a string that is not empty", error);
}

static gboolean
is_one_character (const char *text)
{
  return *text && *g_utf8_next_char (text) == '\0';
}

static gboolean
need_character (
    const VlmJson *json, const char *key, const char **value, GError **error)
{
  if (!need_string (json, key, value, error))
    return FALSE;
  return is_one_character (*value) ||
         vlm_json_fail (json, key, VLM_ERROR_DATA, "a single character", error);
}

/* pattern: {"String": ...} or {"Regex": ...}; the other one is NULL. */
static gboolean
read_pattern (const VlmJson *json, const char **string, const char **regex,
    GError **error)
{
  VlmJson pattern;
  *string = *regex = NULL;
  if (!vlm_json_get_object (json, "pattern", &pattern, error))
    return FALSE;
  if (vlm_json_has (&pattern, "Regex"))
    return need_string (&pattern, "Regex", regex, error);
  return need_string (&pattern, "String", string, error);
}

/* Replace, of normalizers and decoders alike. */
static gboolean
read_replace (
    const VlmJson *json, char **pattern, char **content, GError **error)
{
  const char *string, *regex, *with = "";
  if (!read_pattern (json, &string, &regex, error))
    return FALSE;
  if (regex)
    return vlm_tokenizer_refuse (
        json, "replacing by a regular expression", error);
  if (!vlm_json_get_string (json, "content", &with, error))
    return FALSE;
  *pattern = g_strdup (string);
  *content = g_strdup (with);
  return TRUE;
}

static gboolean
read_normalize_step (
    GArray *steps, const VlmJson *json, const char *type, GError **error)
{
  VlmNormalizeStep step = { 0 };
  const char *content = NULL;
  if (strcmp (type, "NFC") == 0) {
    step.kind = VLM_NORMALIZE_NFC;
  } else if (strcmp (type, "Prepend") == 0) {
    step.kind = VLM_NORMALIZE_PREPEND;
    if (!need_string (json, "prepend", &content, error))
      return FALSE;
    step.content = g_strdup (content);
  } else if (strcmp (type, "Replace") == 0) {
    step.kind = VLM_NORMALIZE_REPLACE;
    if (!read_replace (json, &step.pattern, &step.content, error))
      return FALSE;
  } else {
    return refuse_type (json, type, error);
  }
  g_array_append_val (steps, step);
  return TRUE;
}

/* Matches cut out as words: kept apart with what lies between them, or kept
 * alone; the known expressions leave nothing between, so both are one. */
static gboolean
read_split (VlmWordsStep *step, const VlmJson *json, GError **error)
{
  const char *string, *regex, *behavior;
  gboolean invert = FALSE;
  if (!read_pattern (json, &string, &regex, error) ||
      !need_string (json, "behavior", &behavior, error) ||
      !vlm_json_get_boolean (json, "invert", &invert, error))
    return FALSE;
  if (strcmp (behavior, invert ? "Removed" : "Isolated") != 0) {
    g_autofree char *what = g_strdup_printf (
        "behavior \"%s\" with invert %s", behavior, invert ? "on" : "off");
    return vlm_tokenizer_refuse (json, what, error);
  }
  step->rules = regex ? vlm_split_rules_find (regex) : NULL;
  if (!step->rules) {
    g_autofree char *what = g_strdup_printf (
        "splitting by the pattern \"%s\"", regex ? regex : string);
    return vlm_tokenizer_refuse (json, what, error);
  }
  return TRUE;
}

static gboolean
read_byte_level (VlmWordsStep *step, const VlmJson *json, GError **error)
{
  gboolean use_regex = TRUE;
  step->prefix_space = TRUE;
  if (!vlm_json_get_boolean (
          json, "add_prefix_space", &step->prefix_space, error) ||
      !vlm_json_get_boolean (json, "use_regex", &use_regex, error))
    return FALSE;
  step->rules = use_regex ? vlm_split_rules_gpt2 () : NULL;
  return TRUE;
}

/* prepend_scheme decides; the older add_prefix_space may only agree. */
static gboolean
read_scheme (const VlmJson *json, VlmPrependScheme *scheme, GError **error)
{
  static const char *const names[] = { "always", "first", "never" };
  const char *name = names[VLM_PREPEND_ALWAYS];
  gboolean prefix = TRUE;
  guint i = 0;
  if (!vlm_json_get_string (json, "prepend_scheme", &name, error) ||
      !vlm_json_get_boolean (json, "add_prefix_space", &prefix, error))
    return FALSE;
  while (i < G_N_ELEMENTS (names) && strcmp (names[i], name) != 0)
    i++;
  *scheme = i;
  if (i == G_N_ELEMENTS (names))
    return vlm_json_fail (json, "prepend_scheme", VLM_ERROR_WRONG_TYPE,
        "\"always\", \"first\" or \"never\"", error);
  if (!prefix && vlm_json_has (json, "prepend_scheme") &&
      i != VLM_PREPEND_NEVER)
    return vlm_json_fail (json, "prepend_scheme", VLM_ERROR_DATA,
        "\"never\", as add_prefix_space is false", error);
  if (!prefix)
    *scheme = VLM_PREPEND_NEVER;
  return TRUE;
}

static gboolean
read_metaspace (VlmWordsStep *step, const VlmJson *json, GError **error)
{
  const char *replacement;
  step->split = TRUE;
  if (!need_character (json, "replacement", &replacement, error) ||
      !vlm_json_get_boolean (json, "split", &step->split, error) ||
      !read_scheme (json, &step->scheme, error))
    return FALSE;
  step->replacement = g_strdup (replacement);
  return TRUE;
}

static gboolean
read_words_step (
    GArray *steps, const VlmJson *json, const char *type, GError **error)
{
  VlmWordsStep step = { 0 };
  gboolean ok;
  if (strcmp (type, "Split") == 0) {
    step.kind = VLM_WORDS_SPLIT;
    ok = read_split (&step, json, error);
  } else if (strcmp (type, "ByteLevel") == 0) {
    step.kind = VLM_WORDS_BYTE_LEVEL;
    ok = read_byte_level (&step, json, error);
  } else if (strcmp (type, "Metaspace") == 0) {
    step.kind = VLM_WORDS_METASPACE;
    ok = read_metaspace (&step, json, error);
  } else {
    return refuse_type (json, type, error);
  }
  if (ok)
    g_array_append_val (steps, step);
  return ok;
}

static gboolean
read_strip (VlmDecodeStep *step, const VlmJson *json, GError **error)
{
  const char *content;
  int start = 0, stop = 0;
  if (!need_character (json, "content", &content, error) ||
      !vlm_json_get_int (json, "start", 0, G_MAXUINT16, &start, error) ||
      !vlm_json_get_int (json, "stop", 0, G_MAXUINT16, &stop, error))
    return FALSE;
  step->strip = g_utf8_get_char (content);
  step->start = start;
  step->stop = stop;
  return TRUE;
}

static gboolean
read_decode_metaspace (VlmDecodeStep *step, const VlmJson *json, GError **error)
{
  const char *replacement;
  VlmPrependScheme scheme;
  if (!need_character (json, "replacement", &replacement, error) ||
      !read_scheme (json, &scheme, error))
    return FALSE;
  step->replacement = g_strdup (replacement);
  step->drop_first = scheme != VLM_PREPEND_NEVER;
  return TRUE;
}

static gboolean
read_decode_step (
    GArray *steps, const VlmJson *json, const char *type, GError **error)
{
  VlmDecodeStep step = { 0 };
  gboolean ok = TRUE;
  if (strcmp (type, "Replace") == 0) {
    step.kind = VLM_DECODE_REPLACE;
    ok = read_replace (json, &step.pattern, &step.content, error);
  } else if (strcmp (type, "ByteFallback") == 0) {
    step.kind = VLM_DECODE_BYTE_FALLBACK;
  } else if (strcmp (type, "Fuse") == 0) {
    step.kind = VLM_DECODE_FUSE;
  } else if (strcmp (type, "Strip") == 0) {
    step.kind = VLM_DECODE_STRIP;
    ok = read_strip (&step, json, error);
  } else if (strcmp (type, "ByteLevel") == 0) {
    step.kind = VLM_DECODE_BYTE_LEVEL;
  } else if (strcmp (type, "Metaspace") == 0) {
    step.kind = VLM_DECODE_METASPACE;
    ok = read_decode_metaspace (&step, json, error);
  } else {
    return refuse_type (json, type, error);
  }
  if (ok)
    g_array_append_val (steps, step);
  return ok;
}

/* One part, or the parts of a sequence, in order. */
static gboolean
read_steps (GArray *steps, const VlmJson *json, const char *list,
    ReadStep read_step, GError **error)
{
  const char *type;
  if (!need_string (json, "type", &type, error))
    return FALSE;
  if (steps->len == MAX_STEPS)
    return vlm_tokenizer_refuse (json, "so long a sequence", error);
  if (strcmp (type, "Sequence") != 0)
    return read_step (steps, json, type, error);
  JsonNode *node = vlm_json_member (json, list);
  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (json, list, VLM_ERROR_DATA, "a list", error);
  JsonArray *array = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *item = json_array_get_element (array, i);
    VlmJson part = *json;
    if (!JSON_NODE_HOLDS_OBJECT (item))
      return vlm_json_fail (
          json, list, VLM_ERROR_DATA, "a list of objects", error);
    part.object = json_node_get_object (item);
    if (!read_steps (steps, &part, list, read_step, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_part (GArray *steps, const VlmJson *root, const char *key,
    const char *list, ReadStep read_step, GError **error)
{
  VlmJson part;
  if (!vlm_json_has (root, key))
    return TRUE;
  return vlm_json_get_object (root, key, &part, error) &&
         read_steps (steps, &part, list, read_step, error);
}

gboolean
vlm_tokenizer_read_normalizer (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  return read_part (tokenizer->normalizer, root, "normalizer", "normalizers",
      read_normalize_step, error);
}

gboolean
vlm_tokenizer_read_words (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  return read_part (tokenizer->words, root, "pre_tokenizer", "pretokenizers",
      read_words_step, error);
}

gboolean
vlm_tokenizer_read_decoder (
    VlmTokenizer *tokenizer, const VlmJson *root, GError **error)
{
  VlmDecodeStep join = { .kind = VLM_DECODE_JOIN };
  if (!vlm_json_has (root, "decoder")) {
    g_array_append_val (tokenizer->decoder, join);
    return TRUE;
  }
  return read_part (
      tokenizer->decoder, root, "decoder", "decoders", read_decode_step, error);
}
