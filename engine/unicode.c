/* unicode.c - character classes, NFC, forgiving UTF-8
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * NFC: The Unicode Standard, section 3.11; Hangul by arithmetic (3.12).
 */
#include "engine/unicode.h"

#include <string.h>

typedef struct {
  guint32 first, last;
} CodeRange;

typedef struct {
  guint32 first, last;
  guint8 combining;
} CodeClass;

typedef struct {
  guint32 code;
  guint16 offset;
  guint8 length;
} CodeSlice;

typedef struct {
  guint32 first, second, composed;
} CodePair;

#include "engine/unicode-tables.h"

#define HANGUL_S 0xac00
#define HANGUL_L 0x1100
#define HANGUL_V 0x1161
#define HANGUL_T 0x11a7
#define N_HANGUL_L 19
#define N_HANGUL_V 21
#define N_HANGUL_T 28
#define N_HANGUL_S (N_HANGUL_L * N_HANGUL_V * N_HANGUL_T)

static gboolean
in_ranges (const CodeRange *ranges, gsize n, gunichar c)
{
  gsize low = 0, high = n;
  while (low < high) {
    gsize middle = (low + high) / 2;
    if (c > ranges[middle].last)
      low = middle + 1;
    else if (c < ranges[middle].first)
      high = middle;
    else
      return TRUE;
  }
  return FALSE;
}

gboolean
vlm_unicode_is_letter (gunichar c)
{
  if (c < 0x80)
    return g_ascii_isalpha (c);
  return in_ranges (letters, G_N_ELEMENTS (letters), c);
}

gboolean
vlm_unicode_is_number (gunichar c)
{
  if (c < 0x80)
    return g_ascii_isdigit (c);
  return in_ranges (numbers, G_N_ELEMENTS (numbers), c);
}

gboolean
vlm_unicode_is_space (gunichar c)
{
  if (c < 0x80)
    return c == ' ' || (c >= '\t' && c <= '\r');
  return in_ranges (spaces, G_N_ELEMENTS (spaces), c);
}

gboolean
vlm_unicode_is_word (gunichar c)
{
  if (c < 0x80)
    return g_ascii_isalnum (c) || c == '_';
  return in_ranges (words, G_N_ELEMENTS (words), c);
}

/* A character on its way through normalisation. */
typedef struct {
  gunichar code;
  guint8 combining;
} Mark;

static guint8
combining_class (gunichar c)
{
  gsize low = 0, high = G_N_ELEMENTS (classes);
  if (c < classes[0].first)
    return 0;
  while (low < high) {
    gsize middle = (low + high) / 2;
    if (c > classes[middle].last)
      low = middle + 1;
    else if (c < classes[middle].first)
      high = middle;
    else
      return classes[middle].combining;
  }
  return 0;
}

static void
add_mark (GArray *marks, gunichar c)
{
  Mark mark = { c, combining_class (c) };
  g_array_append_val (marks, mark);
}

static void
add_hangul (GArray *marks, gunichar c)
{
  gunichar s = c - HANGUL_S;
  add_mark (marks, HANGUL_L + s / (N_HANGUL_V * N_HANGUL_T));
  add_mark (marks, HANGUL_V + s / N_HANGUL_T % N_HANGUL_V);
  if (s % N_HANGUL_T)
    add_mark (marks, HANGUL_T + s % N_HANGUL_T);
}

static void
decompose (GArray *marks, gunichar c)
{
  gsize low = 0, high = G_N_ELEMENTS (decompositions);
  if (c >= HANGUL_S && c < HANGUL_S + N_HANGUL_S) {
    add_hangul (marks, c);
    return;
  }
  while (low < high) {
    gsize middle = (low + high) / 2;
    const CodeSlice *slice = &decompositions[middle];
    if (c > slice->code) {
      low = middle + 1;
    } else if (c < slice->code) {
      high = middle;
    } else {
      for (guint i = 0; i < slice->length; i++)
        add_mark (marks, decomposed[slice->offset + i]);
      return;
    }
  }
  add_mark (marks, c);
}

/* A stable counting sort: linear in runs of any length. */
static void
sort_run (Mark *run, gsize n, GArray *scratch)
{
  gsize start[256] = { 0 };
  for (gsize i = 0; i < n; i++)
    if (run[i].combining < 255)
      start[run[i].combining + 1]++;
  for (int k = 1; k < 256; k++)
    start[k] += start[k - 1];
  g_array_set_size (scratch, n);
  for (gsize i = 0; i < n; i++)
    g_array_index (scratch, Mark, start[run[i].combining]++) = run[i];
  memcpy (run, scratch->data, n * sizeof *run);
}

static void
sort_marks (GArray *marks)
{
  Mark *mark = (Mark *) marks->data;
  g_autoptr (GArray) scratch = g_array_new (FALSE, FALSE, sizeof (Mark));
  for (gsize i = 0; i < marks->len; i++) {
    gsize first = i;
    gboolean ordered = TRUE;
    while (i < marks->len && mark[i].combining) {
      if (i > first && mark[i].combining < mark[i - 1].combining)
        ordered = FALSE;
      i++;
    }
    if (!ordered)
      sort_run (mark + first, i - first, scratch);
  }
}

/* The character that two make together, or 0. */
static gunichar
compose_pair (gunichar a, gunichar b)
{
  gsize low = 0, high = G_N_ELEMENTS (compositions);
  if (a - HANGUL_L < N_HANGUL_L && b - HANGUL_V < N_HANGUL_V)
    return HANGUL_S + ((a - HANGUL_L) * N_HANGUL_V + b - HANGUL_V) * N_HANGUL_T;
  if (a - HANGUL_S < N_HANGUL_S && (a - HANGUL_S) % N_HANGUL_T == 0 &&
      b - HANGUL_T - 1 < N_HANGUL_T - 1)
    return a + b - HANGUL_T;
  while (low < high) {
    gsize middle = (low + high) / 2;
    const CodePair *pair = &compositions[middle];
    if (a > pair->first || (a == pair->first && b > pair->second))
      low = middle + 1;
    else if (a < pair->first || b < pair->second)
      high = middle;
    else
      return pair->composed;
  }
  return 0;
}

static void
compose (GArray *marks)
{
  Mark *mark = (Mark *) marks->data;
  gsize n = 0;
  gssize starter = -1;
  guint8 last = 0;
  for (gsize i = 0; i < marks->len; i++) {
    gboolean adjacent = (gssize) n == starter + 1;
    gunichar both = 0;
    if (starter >= 0 && (adjacent || last < mark[i].combining))
      both = compose_pair (mark[starter].code, mark[i].code);
    if (both) {
      mark[starter].code = both;
      continue;
    }
    if (mark[i].combining == 0)
      starter = n;
    last = mark[i].combining;
    mark[n++] = mark[i];
  }
  g_array_set_size (marks, n);
}

void
vlm_unicode_nfc (const char *text, gsize length, GString *out)
{
  gsize ascii = 0;
  while (ascii < length && !(text[ascii] & 0x80))
    ascii++;
  if (ascii == length) {
    g_string_append_len (out, text, length);
    return;
  }
  g_autoptr (GArray) marks = g_array_new (FALSE, FALSE, sizeof (Mark));
  for (const char *p = text; p < text + length; p = g_utf8_next_char (p))
    decompose (marks, g_utf8_get_char (p));
  sort_marks (marks);
  compose (marks);
  for (gsize i = 0; i < marks->len; i++)
    g_string_append_unichar (out, g_array_index (marks, Mark, i).code);
}

/* How many bytes the character begun by a byte has; 0 if none begins so. */
static guint
utf8_length (guint8 byte)
{
  if (byte < 0x80)
    return 1;
  if (byte < 0xc2 || byte > 0xf4)
    return 0;
  return byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/* Whether a byte can follow those held. The second one is restricted: no
 * overlong forms, no surrogates, nothing above U+10FFFF. */
static gboolean
continues (const VlmUtf8State *state, guint8 byte)
{
  guint8 low = 0x80, high = 0xbf;
  if (state->n_held == 1) {
    switch (state->held[0]) {
    case 0xe0:
      low = 0xa0;
      break;
    case 0xed:
      high = 0x9f;
      break;
    case 0xf0:
      low = 0x90;
      break;
    case 0xf4:
      high = 0x8f;
      break;
    }
  }
  return byte >= low && byte <= high;
}

void
vlm_utf8_flush (VlmUtf8State *state, GString *out)
{
  if (state->n_held)
    g_string_append (out, "\xef\xbf\xbd");
  state->n_held = 0;
}

void
vlm_utf8_push (VlmUtf8State *state, guint8 byte, GString *out)
{
  if (state->n_held && !continues (state, byte))
    vlm_utf8_flush (state, out);
  if (state->n_held == 0 && utf8_length (byte) == 0) {
    g_string_append (out, "\xef\xbf\xbd");
    return;
  }
  state->held[state->n_held++] = byte;
  if (state->n_held == utf8_length (state->held[0])) {
    g_string_append_len (out, (char *) state->held, state->n_held);
    state->n_held = 0;
  }
}

char *
vlm_utf8_repair (const char *text, gsize length, gsize *repaired)
{
  GString *out = g_string_sized_new (length);
  VlmUtf8State state = { { 0 }, 0 };
  for (gsize i = 0; i < length; i++)
    vlm_utf8_push (&state, text[i], out);
  vlm_utf8_flush (&state, out);
  *repaired = out->len;
  return g_string_free (out, FALSE);
}
