/* tokenizer-words.c - pre-tokenizers: a section of text to words
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The split expressions are few and known, so each alternative is scanned by
 * hand: one pass, and the character classes are ours (unicode.h).
 */
#include "engine/tokenizer-parts.h"

#include <string.h>

#include "engine/unicode.h"

static const VlmSplitRules known_rules[] = {
  {
      /* Llama-3 */
      .regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
               "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
               "\\s+(?!\\S)|\\s+",
      .any_case = TRUE,
      .joins_any = TRUE,
      .max_digits = 3,
      .lines = TRUE,
  },
  {
      /* Qwen2 */
      .regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
               "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
               "\\s+(?!\\S)|\\s+",
      .any_case = TRUE,
      .joins_any = TRUE,
      .max_digits = 1,
      .lines = TRUE,
  },
  {
      /* GPT-2, and the byte-level pre-tokenizer with use_regex */
      .regex = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
               " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  },
};

const VlmSplitRules *
vlm_split_rules_find (const char *regex)
{
  for (gsize i = 0; i < G_N_ELEMENTS (known_rules); i++)
    if (strcmp (known_rules[i].regex, regex) == 0)
      return &known_rules[i];
  return NULL;
}

const VlmSplitRules *
vlm_split_rules_gpt2 (void)
{
  return &known_rules[G_N_ELEMENTS (known_rules) - 1];
}

static gboolean
is_line_end (gunichar c)
{
  return c == '\r' || c == '\n';
}

static gboolean
is_other (gunichar c)
{
  return !vlm_unicode_is_space (c) && !vlm_unicode_is_letter (c) &&
         !vlm_unicode_is_number (c);
}

/* Past all characters of a class. */
static const char *
skip (const char *p, const char *end, gboolean (*is) (gunichar))
{
  while (p < end && is (g_utf8_get_char (p)))
    p = g_utf8_next_char (p);
  return p;
}

/* Each scan_ function returns the end of its match at p, or NULL. */

static gunichar
fold (const VlmSplitRules *rules, gunichar c)
{
  if (!rules->any_case)
    return c;
  if (c == 0x17f) /* long s: the library folds it */
    return 's';
  return c < 0x80 ? (gunichar) g_ascii_tolower (c) : c;
}

static const char *
scan_contraction (const VlmSplitRules *rules, const char *p, const char *end)
{
  static const char pairs[][2] = { { 'r', 'e' }, { 'v', 'e' }, { 'l', 'l' } };
  if (*p != '\'' || p + 1 == end)
    return NULL;
  const char *second = g_utf8_next_char (p + 1);
  gunichar a = fold (rules, g_utf8_get_char (p + 1));
  if (a == 's' || a == 't' || a == 'm' || a == 'd')
    return second;
  if (second == end)
    return NULL;
  gunichar b = fold (rules, g_utf8_get_char (second));
  for (gsize i = 0; i < G_N_ELEMENTS (pairs); i++)
    if (a == (gunichar) pairs[i][0] && b == (gunichar) pairs[i][1])
      return g_utf8_next_char (second);
  return NULL;
}

static gboolean
joins (const VlmSplitRules *rules, gunichar c)
{
  if (!rules->joins_any)
    return c == ' ';
  return !is_line_end (c) && !vlm_unicode_is_letter (c) &&
         !vlm_unicode_is_number (c);
}

static const char *
scan_letters (const VlmSplitRules *rules, const char *p, const char *end)
{
  if (joins (rules, g_utf8_get_char (p)))
    p = g_utf8_next_char (p);
  const char *stop = skip (p, end, vlm_unicode_is_letter);
  return stop > p ? stop : NULL;
}

static const char *
scan_numbers (const VlmSplitRules *rules, const char *p, const char *end)
{
  const char *stop = p;
  if (rules->max_digits == 0) {
    p += *p == ' ';
    stop = skip (p, end, vlm_unicode_is_number);
    return stop > p ? stop : NULL;
  }
  for (guint i = 0; i < rules->max_digits && stop < end; i++) {
    if (!vlm_unicode_is_number (g_utf8_get_char (stop)))
      break;
    stop = g_utf8_next_char (stop);
  }
  return stop > p ? stop : NULL;
}

static const char *
scan_others (const VlmSplitRules *rules, const char *p, const char *end)
{
  p += *p == ' ';
  const char *stop = skip (p, end, is_other);
  if (stop == p)
    return NULL;
  return rules->lines ? skip (stop, end, is_line_end) : stop;
}

static const char *
scan_spaces (const VlmSplitRules *rules, const char *p, const char *end)
{
  const char *line = NULL, *last = p, *stop = p;
  while (stop < end && vlm_unicode_is_space (g_utf8_get_char (stop))) {
    last = stop;
    stop = g_utf8_next_char (stop);
    if (is_line_end (*last))
      line = stop;
  }
  if (rules->lines && line)
    return line;
  return stop == end || last == p ? stop : last;
}

static const char *
scan_word (const VlmSplitRules *rules, const char *p, const char *end)
{
  const char *stop = scan_contraction (rules, p, end);
  if (!stop)
    stop = scan_letters (rules, p, end);
  if (!stop)
    stop = scan_numbers (rules, p, end);
  if (!stop)
    stop = scan_others (rules, p, end);
  return stop ? stop : scan_spaces (rules, p, end);
}

gunichar
vlm_byte_to_char (guint8 byte)
{
  if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173))
    return byte;
  if (byte <= 32)
    return 0x100 + byte;
  return byte == 173 ? 0x143 : 0x100 + 33 + byte - 127;
}

int
vlm_char_to_byte (gunichar c)
{
  if ((c >= 33 && c <= 126) || (c >= 161 && c != 173 && c <= 255))
    return c;
  if (c < 0x100 || c > 0x143)
    return -1;
  if (c <= 0x100 + 32)
    return c - 0x100;
  return c == 0x143 ? 173 : (int) c - 0x100 - 33 + 127;
}

/* A walk through the steps: each one hands its words to the next. */
typedef struct {
  const GArray *steps;
  VlmWordFunc func;
  gpointer data;
} Walk;

static void walk_step (
    const Walk *walk, guint i, const char *text, gsize length, gboolean first);

static void
step_split (const Walk *walk, guint i, const VlmSplitRules *rules,
    const char *text, gsize length, gboolean first)
{
  const char *end = text + length;
  for (const char *p = text, *stop; p < end; p = stop) {
    stop = scan_word (rules, p, end);
    walk_step (walk, i + 1, p, stop - p, first && p == text);
  }
}

static void
map_word (
    const Walk *walk, guint i, const char *word, gsize length, gboolean first)
{
  g_autoptr (GString) mapped = g_string_sized_new (2 * length);
  for (gsize j = 0; j < length; j++)
    g_string_append_unichar (mapped, vlm_byte_to_char (word[j]));
  walk_step (walk, i + 1, mapped->str, mapped->len, first);
}

static void
step_byte_level (const Walk *walk, guint i, const VlmWordsStep *step,
    const char *text, gsize length, gboolean first)
{
  g_autofree char *spaced = NULL;
  if (step->prefix_space && *text != ' ') {
    spaced = g_malloc (length + 1);
    spaced[0] = ' ';
    memcpy (spaced + 1, text, length++);
    text = spaced;
  }
  const char *end = text + length;
  for (const char *p = text, *stop; p < end; p = stop) {
    stop = step->rules ? scan_word (step->rules, p, end) : end;
    map_word (walk, i, p, stop - p, first && p == text);
  }
}

static void
step_metaspace (const Walk *walk, guint i, const VlmWordsStep *step,
    const char *text, gsize length, gboolean first)
{
  gsize n = strlen (step->replacement);
  g_autoptr (GString) marked = g_string_sized_new (length + length / 2 + n);
  vlm_replace (text, length, " ", step->replacement, marked);
  if ((step->scheme == VLM_PREPEND_ALWAYS ||
          (step->scheme == VLM_PREPEND_FIRST && first)) &&
      !g_str_has_prefix (marked->str, step->replacement))
    g_string_prepend (marked, step->replacement);
  const char *end = marked->str + marked->len;
  for (const char *p = marked->str, *stop; p < end; p = stop) {
    stop = end;
    if (step->split)
      for (stop = g_utf8_next_char (p);
           stop < end && strncmp (stop, step->replacement, n) != 0;)
        stop = g_utf8_next_char (stop);
    walk_step (walk, i + 1, p, stop - p, first && p == marked->str);
  }
}

static void
walk_step (
    const Walk *walk, guint i, const char *text, gsize length, gboolean first)
{
  if (i == walk->steps->len) {
    walk->func (text, length, walk->data);
    return;
  }
  const VlmWordsStep *step = &g_array_index (walk->steps, VlmWordsStep, i);
  switch (step->kind) {
  case VLM_WORDS_SPLIT:
    step_split (walk, i, step->rules, text, length, first);
    break;
  case VLM_WORDS_BYTE_LEVEL:
    step_byte_level (walk, i, step, text, length, first);
    break;
  case VLM_WORDS_METASPACE:
    step_metaspace (walk, i, step, text, length, first);
    break;
  }
}

void
vlm_words (const GArray *steps, const char *text, gsize length, gboolean first,
    VlmWordFunc func, gpointer data)
{
  const Walk walk = { steps, func, data };
  if (length)
    walk_step (&walk, 0, text, length, first);
}
