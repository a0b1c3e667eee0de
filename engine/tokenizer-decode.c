/* tokenizer-decode.c - ids to text, piece by piece
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each decoder step passes text on to the next. Before a joining step (Fuse,
 * ByteLevel) what arrives is a whole piece; after it, a fragment of the one
 * piece that all text has become. A step that needs a whole piece and gets
 * fragments keeps them until the end.
 */
#include "engine/tokenizer-parts.h"

#include <string.h>

#include "engine/unicode.h"

/* What a step remembers. */
typedef struct {
  gboolean fused;    /* fragments arrive */
  gboolean started;  /* something arrived before */
  gboolean stripped; /* STRIP: past the beginning */
  guint n_cut;       /* STRIP: characters removed there */
  GString *held;     /* text or bytes that may yet change */
  VlmUtf8State utf8; /* BYTE_LEVEL */
} StepState;

struct VlmTextStream {
  const VlmTokenizer *tokenizer;
  gboolean skip_special;
  guint n_steps;
  StepState *states; /* [n_steps] */
  GString *out;      /* where text goes, during a call */
};

static void feed (
    VlmTextStream *stream, guint i, const char *text, gsize length);

static const VlmDecodeStep *
step_at (const VlmTextStream *stream, guint i)
{
  return &g_array_index (stream->tokenizer->decoder, VlmDecodeStep, i);
}

/* Passes a step's finished text on and empties the string. */
static void
pass_on (VlmTextStream *stream, guint i, GString *text)
{
  if (text->len || !stream->states[i].fused)
    feed (stream, i + 1, text->str, text->len);
  g_string_truncate (text, 0);
}

/* Replace. */

static void
replace_piece (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  const VlmDecodeStep *step = step_at (stream, i);
  g_autoptr (GString) out = g_string_sized_new (length);
  vlm_replace (text, length, step->pattern, step->content, out);
  pass_on (stream, i, out);
}

/* How many bytes of text cannot begin the pattern any more or are complete. */
static gsize
settled (const char *text, gsize length, const char *pattern)
{
  gsize n = strlen (pattern), p = 0;
  while (p < length) {
    if (length - p >= n && memcmp (text + p, pattern, n) == 0)
      p += n;
    else if (length - p < n && memcmp (text + p, pattern, length - p) == 0)
      return p;
    else
      p++;
  }
  return p;
}

static void
replace_fragment (
    VlmTextStream *stream, guint i, const char *text, gsize length)
{
  GString *held = stream->states[i].held;
  g_string_append_len (held, text, length);
  gsize n = settled (held->str, held->len, step_at (stream, i)->pattern);
  if (n)
    replace_piece (stream, i, held->str, n);
  g_string_erase (held, 0, n);
}

/* ByteFallback. */

/* The byte that a piece such as <0x0A> names, or -1. */
static int
named_byte (const char *piece, gsize length)
{
  if (length != 6 || memcmp (piece, "<0x", 3) != 0 || piece[5] != '>')
    return -1;
  int high = g_ascii_xdigit_value (piece[3]);
  int low = g_ascii_xdigit_value (piece[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* One bad byte spoils the run: each of its bytes becomes U+FFFD. */
static void
end_run (VlmTextStream *stream, guint i)
{
  GString *run = stream->states[i].held;
  gsize n;
  g_autofree char *text = vlm_utf8_repair (run->str, run->len, &n);
  gboolean valid = n == run->len && !memcmp (text, run->str, n);
  gsize n_bytes = run->len;
  g_string_truncate (run, 0);
  if (n_bytes && valid)
    feed (stream, i + 1, text, n);
  for (gsize j = 0; j < n_bytes && !valid; j++)
    feed (stream, i + 1, "\xef\xbf\xbd", 3);
}

static void
fallback_piece (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  int byte = named_byte (text, length);
  if (byte >= 0) {
    g_string_append_c (stream->states[i].held, byte);
    return;
  }
  end_run (stream, i);
  feed (stream, i + 1, text, length);
}

/* Strip. */

/* Removes up to step->start characters at the beginning and holds up to
 * step->stop at the end. */
static void
strip_fragment (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  const VlmDecodeStep *step = step_at (stream, i);
  StepState *state = &stream->states[i];
  g_autoptr (GString) out = g_string_sized_new (length);
  const char *next;
  for (const char *p = text; p < text + length; p = next) {
    gboolean match = g_utf8_get_char (p) == step->strip;
    next = g_utf8_next_char (p);
    if (match && !state->stripped && state->n_cut < step->start) {
      state->n_cut++;
      continue;
    }
    state->stripped = TRUE;
    gsize room = match ? step->stop * (gsize) (next - p) : 0;
    g_string_append_len (state->held, p, next - p);
    if (state->held->len > room) {
      gsize over = state->held->len - room;
      g_string_append_len (out, state->held->str, over);
      g_string_erase (state->held, 0, over);
    }
  }
  pass_on (stream, i, out);
}

static void
strip_piece (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  const VlmDecodeStep *step = step_at (stream, i);
  const char *end = text + length;
  for (guint j = 0; j < step->start && text < end; j++) {
    if (g_utf8_get_char (text) != step->strip)
      break;
    text = g_utf8_next_char (text);
  }
  for (guint j = 0; j < step->stop && end > text; j++) {
    const char *last = g_utf8_prev_char (end);
    if (g_utf8_get_char (last) != step->strip)
      break;
    end = last;
  }
  feed (stream, i + 1, text, end - text);
}

/* ByteLevel. */

/* A piece with a character outside the alphabet stands for itself. */
static gboolean
in_alphabet (const char *text, gsize length)
{
  for (const char *p = text; p < text + length; p = g_utf8_next_char (p))
    if (vlm_char_to_byte (g_utf8_get_char (p)) < 0)
      return FALSE;
  return TRUE;
}

static void
byte_level_piece (
    VlmTextStream *stream, guint i, const char *text, gsize length)
{
  VlmUtf8State *state = &stream->states[i].utf8;
  g_autoptr (GString) out = g_string_sized_new (length);
  gboolean mapped = in_alphabet (text, length);
  const char *next;
  for (const char *p = text; p < text + length; p = next) {
    next = mapped ? g_utf8_next_char (p) : p + 1;
    vlm_utf8_push (state,
        mapped ? vlm_char_to_byte (g_utf8_get_char (p)) : (guint8) *p, out);
  }
  if (out->len)
    feed (stream, i + 1, out->str, out->len);
}

/* Metaspace. */

static void
metaspace_piece (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  const VlmDecodeStep *step = step_at (stream, i);
  StepState *state = &stream->states[i];
  gboolean first = state->fused || !state->started;
  g_autoptr (GString) out = g_string_sized_new (length);
  vlm_replace (text, length, step->replacement,
      first && step->drop_first ? "" : " ", out);
  pass_on (stream, i, out);
}

/* Keeps fragments for a step that wants the whole. */
static gboolean
must_wait (const VlmDecodeStep *step, const StepState *state)
{
  return state->fused && (step->kind == VLM_DECODE_BYTE_FALLBACK ||
                             step->kind == VLM_DECODE_BYTE_LEVEL);
}

static void
run_step (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  StepState *state = &stream->states[i];
  switch (step_at (stream, i)->kind) {
  case VLM_DECODE_REPLACE:
    if (state->fused)
      replace_fragment (stream, i, text, length);
    else
      replace_piece (stream, i, text, length);
    break;
  case VLM_DECODE_BYTE_FALLBACK:
    fallback_piece (stream, i, text, length);
    break;
  case VLM_DECODE_STRIP:
    if (state->fused)
      strip_fragment (stream, i, text, length);
    else
      strip_piece (stream, i, text, length);
    break;
  case VLM_DECODE_BYTE_LEVEL:
    byte_level_piece (stream, i, text, length);
    break;
  case VLM_DECODE_METASPACE:
    metaspace_piece (stream, i, text, length);
    break;
  case VLM_DECODE_JOIN:
    if (state->started)
      feed (stream, i + 1, " ", 1);
    feed (stream, i + 1, text, length);
    break;
  case VLM_DECODE_FUSE:
    feed (stream, i + 1, text, length);
    break;
  }
}

static void
feed (VlmTextStream *stream, guint i, const char *text, gsize length)
{
  if (i == stream->n_steps) {
    g_string_append_len (stream->out, text, length);
    return;
  }
  StepState *state = &stream->states[i];
  if (must_wait (step_at (stream, i), state)) {
    g_string_append_len (state->held, text, length);
    return;
  }
  run_step (stream, i, text, length);
  state->started = TRUE;
}

/* The end has come: what a step still holds is what it is. */
static void
finish_step (VlmTextStream *stream, guint i)
{
  const VlmDecodeStep *step = step_at (stream, i);
  StepState *state = &stream->states[i];
  if (must_wait (step, state)) {
    g_autoptr (GString) whole = state->held;
    state->held = g_string_new (NULL);
    run_step (stream, i, whole->str, whole->len);
  }
  if (step->kind == VLM_DECODE_BYTE_FALLBACK)
    end_run (stream, i);
  if (step->kind == VLM_DECODE_REPLACE && state->held->len)
    feed (stream, i + 1, state->held->str, state->held->len);
  if (step->kind == VLM_DECODE_BYTE_LEVEL) {
    g_autoptr (GString) tail = g_string_new (NULL);
    vlm_utf8_flush (&state->utf8, tail);
    if (tail->len)
      feed (stream, i + 1, tail->str, tail->len);
  }
}

static void
reset (VlmTextStream *stream)
{
  for (guint i = 0; i < stream->n_steps; i++) {
    StepState *state = &stream->states[i];
    g_string_truncate (state->held, 0);
    state->started = state->stripped = FALSE;
    state->n_cut = 0;
    state->utf8.n_held = 0;
  }
}

VlmTextStream *
vlm_text_stream_new (const VlmTokenizer *tokenizer, gboolean skip_special)
{
  VlmTextStream *stream = g_new0 (VlmTextStream, 1);
  gboolean fused = FALSE;
  stream->tokenizer = tokenizer;
  stream->skip_special = skip_special;
  stream->n_steps = tokenizer->decoder->len;
  stream->states = g_new0 (StepState, stream->n_steps);
  for (guint i = 0; i < stream->n_steps; i++) {
    VlmDecodeKind kind = step_at (stream, i)->kind;
    stream->states[i].fused = fused;
    stream->states[i].held = g_string_new (NULL);
    fused |= kind == VLM_DECODE_FUSE || kind == VLM_DECODE_BYTE_LEVEL;
  }
  return stream;
}

void
vlm_text_stream_free (VlmTextStream *stream)
{
  if (!stream)
    return;
  for (guint i = 0; i < stream->n_steps; i++)
    g_string_free (stream->states[i].held, TRUE);
  g_free (stream->states);
  g_free (stream);
}

void
vlm_text_stream_push (VlmTextStream *stream, gint32 id, GString *text)
{
  const VlmTokenizer *tokenizer = stream->tokenizer;
  const VlmAddedToken *added = vlm_tokenizer_added (tokenizer, id);
  const char *piece =
      added ? added->pattern : vlm_bpe_piece (tokenizer->bpe, id);
  if (!piece)
    return;
  if (stream->skip_special && g_hash_table_contains (tokenizer->special, piece))
    return;
  stream->out = text;
  feed (stream, 0, piece, strlen (piece));
  stream->out = NULL;
}

void
vlm_text_stream_flush (VlmTextStream *stream, GString *text)
{
  stream->out = text;
  for (guint i = 0; i < stream->n_steps; i++)
    finish_step (stream, i);
  stream->out = NULL;
  reset (stream);
}
