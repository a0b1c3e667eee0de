/* tokenizer-sentencepiece.c - reads tokenizer.model, as SentencePiece writes it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A message of protocol buffers: pieces with score and type, the trainer's and
 * the normalizer's settings. Of two neighbours the pair whose union has the
 * best score is merged first, so every way to cut a piece in two known ones is
 * a merge of that piece's rank. Source: sentencepiece_model.proto and
 * bpe_model.cc of SentencePiece.
 */
#include "engine/tokenizer-parts.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "engine/error.h"

#define MARK "\342\226\201" /* U+2581, stands for a space */

/* Wire types. */
enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

/* ModelProto.SentencePiece.Type */
enum {
  PIECE_NORMAL = 1,
  PIECE_UNKNOWN = 2,
  PIECE_CONTROL = 3,
  PIECE_BYTE = 6,
};

typedef struct {
  const guint8 *at, *end;
} Reader;

/* One field of a message; what its wire type does not have is zero. */
typedef struct {
  guint32 number;
  guint64 varint;
  guint32 fixed;
  Reader bytes;
} Field;

typedef struct {
  const char *text; /* in the file, not terminated */
  gsize length;
  float score;
  int type;
  guint32 id;
} Piece;

typedef struct {
  GArray *pieces; /* Piece */
  int model_type; /* 1 unigram, 2 BPE */
  gboolean byte_fallback;
  int unknown, bos, eos; /* ids, or -1 */
  gboolean prefix, shrink, escape;
  gsize n_rules; /* bytes of a table of replacements */
} Model;

static gboolean
read_varint (Reader *r, guint64 *value)
{
  *value = 0;
  for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
    guint8 byte = *r->at++;
    *value |= (guint64) (byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return TRUE;
  }
  return FALSE;
}

static gboolean
take (Reader *r, guint64 n, Reader *bytes)
{
  if (n > (guint64) (r->end - r->at))
    return FALSE;
  *bytes = (Reader){ r->at, r->at + n };
  r->at += n;
  return TRUE;
}

static gboolean
read_field (Reader *r, Field *field)
{
  guint64 key, length;
  *field = (Field){ 0 };
  if (!read_varint (r, &key) || key >> 3 > G_MAXUINT32)
    return FALSE;
  field->number = key >> 3;
  switch (key & 7) {
  case WIRE_VARINT:
    return read_varint (r, &field->varint);
  case WIRE_64:
    return take (r, 8, &field->bytes);
  case WIRE_BYTES:
    return read_varint (r, &length) && take (r, length, &field->bytes);
  case WIRE_32:
    if (!take (r, 4, &field->bytes))
      return FALSE;
    memcpy (&field->fixed, field->bytes.at, 4);
    field->fixed = GUINT32_FROM_LE (field->fixed);
    return TRUE;
  default:
    return FALSE;
  }
}

static gboolean
read_piece (Model *model, Reader r)
{
  Piece piece = { .type = PIECE_NORMAL, .id = model->pieces->len };
  Field field;
  while (r.at < r.end) {
    if (!read_field (&r, &field))
      return FALSE;
    if (field.number == 1) {
      piece.text = (const char *) field.bytes.at;
      piece.length = field.bytes.end - field.bytes.at;
    } else if (field.number == 2) {
      memcpy (&piece.score, &field.fixed, sizeof piece.score);
    } else if (field.number == 3) {
      piece.type = (int) MIN (field.varint, 99);
    }
  }
  g_array_append_val (model->pieces, piece);
  return piece.length > 0;
}

/* An id as the proto's int32: -1 says that there is none. */
static int
id_of (guint64 varint)
{
  return varint < VLM_MAX_TOKENS ? (int) varint : -1;
}

static gboolean
read_trainer (Model *model, Reader r)
{
  Field field;
  while (r.at < r.end) {
    if (!read_field (&r, &field))
      return FALSE;
    if (field.number == 3)
      model->model_type = (int) MIN (field.varint, 99);
    else if (field.number == 35)
      model->byte_fallback = field.varint != 0;
    else if (field.number == 40)
      model->unknown = id_of (field.varint);
    else if (field.number == 41)
      model->bos = id_of (field.varint);
    else if (field.number == 42)
      model->eos = id_of (field.varint);
  }
  return TRUE;
}

static gboolean
read_normalizer (Model *model, Reader r)
{
  Field field;
  while (r.at < r.end) {
    if (!read_field (&r, &field))
      return FALSE;
    if (field.number == 2)
      model->n_rules = field.bytes.end - field.bytes.at;
    else if (field.number == 3)
      model->prefix = field.varint != 0;
    else if (field.number == 4)
      model->shrink = field.varint != 0;
    else if (field.number == 5)
      model->escape = field.varint != 0;
  }
  return TRUE;
}

static gboolean
read_model (Model *model, Reader r)
{
  Field field;
  while (r.at < r.end) {
    if (!read_field (&r, &field))
      return FALSE;
    if (field.number == 1 && (model->pieces->len >= VLM_MAX_TOKENS ||
                                 !read_piece (model, field.bytes)))
      return FALSE;
    if (field.number == 2 && !read_trainer (model, field.bytes))
      return FALSE;
    if (field.number == 3 && !read_normalizer (model, field.bytes))
      return FALSE;
  }
  return model->pieces->len > 0;
}

static gboolean fail (const char *file, GError **error, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

static gboolean
fail (const char *file, GError **error, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;
  va_start (args, format);
  what = g_strdup_vprintf (vlm_text (format), args);
  va_end (args);
  return vlm_fail (error, VLM_ERROR_WRONG_TYPE, VLM_ABOUT (.file = file),
      "%s: %s", file, what);
}

/* What the LLaVA checkpoints' models are, and what would change every id. */
static gboolean
check_model (const Model *model, const char *file, GError **error)
{
  if (model->model_type != 2)
    return fail (file, error,
        "trainer_spec.model_type is %d, but 2 (BPE) was expected.",
        model->model_type);
  if (model->n_rules)
    return fail (file, error,
        "normalizer_spec.precompiled_charsmap has %zu bytes, but none were "
        "expected (identity).",
        model->n_rules);
  if (model->shrink || !model->escape)
    return fail (file, error,
        "normalizer_spec.remove_extra_whitespaces is %s and "
        "escape_whitespaces %s, but false and true were expected.",
        model->shrink ? "true" : "false", model->escape ? "true" : "false");
  for (guint i = 0; i < model->pieces->len; i++) {
    const Piece *piece = &g_array_index (model->pieces, Piece, i);
    if (!g_utf8_validate (piece->text, piece->length, NULL))
      return fail (file, error,
          "piece %u was expected in UTF-8 without NULs, but is not.", i);
    if (piece->type != PIECE_BYTE &&
        (piece->type < PIECE_NORMAL || piece->type > PIECE_CONTROL))
      return fail (file, error,
          "piece %u has the type %d, but 1, 2, 3 or 6 was expected.", i,
          piece->type);
  }
  return TRUE;
}

static gboolean
add_pieces (
    VlmTokenizer *t, const Model *model, const char *file, GError **error)
{
  for (guint i = 0; i < model->pieces->len; i++) {
    const Piece *piece = &g_array_index (model->pieces, Piece, i);
    g_autofree char *text = g_strndup (piece->text, piece->length);
    if (vlm_bpe_find (t->bpe, text, piece->length) != VLM_NO_TOKEN)
      return fail (file, error,
          "each piece was expected once, but %.80s is there again as piece "
          "%u.",
          text, i);
    vlm_bpe_add_piece (t->bpe, text, i);
    if (piece->type == PIECE_UNKNOWN || piece->type == PIECE_CONTROL)
      vlm_tokenizer_add_token (
          t, &(VlmAddedToken){ .id = i, .content = text, .special = TRUE });
  }
  vlm_tokenizer_index (t);
  return TRUE;
}

static gint
compare_scores (gconstpointer a, gconstpointer b)
{
  const Piece *p = a, *q = b;
  if (p->score != q->score)
    return p->score > q->score ? -1 : 1;
  return p->id < q->id ? -1 : p->id > q->id;
}

static gboolean
merges_with (
    const VlmTokenizer *t, const Model *model, const char *text, gsize length)
{
  guint32 id = vlm_bpe_find (t->bpe, text, length);
  return id != VLM_NO_TOKEN &&
         g_array_index (model->pieces, Piece, id).type == PIECE_NORMAL;
}

/* Longer pieces than any that was learned: each costs its square. */
#define MAX_PIECE 512

static void
add_merges (VlmTokenizer *t, const Model *model)
{
  g_autoptr (GArray) order = g_array_copy (model->pieces);
  g_array_sort (order, compare_scores);
  for (guint i = 0; i < order->len; i++) {
    const Piece *piece = &g_array_index (order, Piece, i);
    const char *end = piece->text + piece->length, *cut = piece->text;
    gboolean first = TRUE;
    if (piece->type != PIECE_NORMAL || piece->length > MAX_PIECE)
      continue;
    while ((cut = g_utf8_next_char (cut)) < end) {
      gsize left = cut - piece->text, right = end - cut;
      if (!merges_with (t, model, piece->text, left) ||
          !merges_with (t, model, cut, right))
        continue;
      vlm_bpe_add_split (t->bpe, piece->text, left, cut, right, first);
      first = FALSE;
    }
  }
}

static void
add_steps (VlmTokenizer *t, const Model *model)
{
  VlmNormalizeStep prepend = { .kind = VLM_NORMALIZE_PREPEND };
  VlmNormalizeStep replace = { .kind = VLM_NORMALIZE_REPLACE };
  VlmDecodeStep back = { .kind = VLM_DECODE_REPLACE };
  VlmDecodeStep bytes = { .kind = VLM_DECODE_BYTE_FALLBACK };
  VlmDecodeStep fuse = { .kind = VLM_DECODE_FUSE };
  VlmDecodeStep strip = { .kind = VLM_DECODE_STRIP, .strip = ' ', .start = 1 };
  if (model->prefix) {
    prepend.content = g_strdup (MARK);
    g_array_append_val (t->normalizer, prepend);
  }
  replace.pattern = g_strdup (" ");
  replace.content = g_strdup (MARK);
  g_array_append_val (t->normalizer, replace);
  back.pattern = g_strdup (MARK);
  back.content = g_strdup (" ");
  g_array_append_val (t->decoder, back);
  g_array_append_val (t->decoder, bytes);
  g_array_append_val (t->decoder, fuse);
  if (model->prefix)
    g_array_append_val (t->decoder, strip);
}

static gboolean
fill (VlmTokenizer *t, const Model *model, const char *file, GError **error)
{
  if (!check_model (model, file, error) || !add_pieces (t, model, file, error))
    return FALSE;
  add_merges (t, model);
  add_steps (t, model);
  if (model->byte_fallback)
    vlm_bpe_set_byte_fallback (t->bpe);
  if (model->unknown >= 0 && model->unknown < (int) model->pieces->len)
    vlm_bpe_set_unknown (t->bpe, model->unknown, TRUE);
  t->size = model->pieces->len;
  return TRUE;
}

VlmTokenizer *
vlm_tokenizer_new_sentencepiece (const char *bytes, gsize length,
    const char *file, int add_bos, int add_eos, const char *bos_token,
    const char *eos_token, GError **error)
{
  g_autoptr (GArray) pieces = g_array_new (FALSE, FALSE, sizeof (Piece));
  const guint8 *begin = (const guint8 *) bytes;
  Model model = { .pieces = pieces,
    .model_type = 1,
    .bos = 1,
    .eos = 2,
    .prefix = TRUE,
    .shrink = TRUE,
    .escape = TRUE };
  g_autoptr (VlmTokenizer) t = vlm_tokenizer_alloc ();
  if (!read_model (&model, (Reader){ begin, begin + length })) {
    vlm_fail_expected (error, VLM_ERROR_DATA, file, "a SentencePiece model",
        N_ ("the bytes are none"));
    return NULL;
  }
  if (!fill (t, &model, file, error))
    return NULL;
  if (!bos_token)
    bos_token = vlm_bpe_piece (t->bpe, model.bos);
  if (!eos_token)
    eos_token = vlm_bpe_piece (t->bpe, model.eos);
  if (!vlm_tokenizer_set_marks (
          t, add_bos != 0, add_eos > 0, bos_token, eos_token, file, error))
    return NULL;
  return g_steal_pointer (&t);
}
