/* tokenizer.h - text to token ids and back, as the checkpoint's file says
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads the tokenizer.json of the `tokenizers` library: byte-pair models of
 * the SentencePiece kind (a marker for spaces, bytes as fallback) and of the
 * byte-level kind. A VlmTokenizer never changes after vlm_tokenizer_new and
 * may be used from any thread.
 *
 *   encode:  text -> [added tokens cut out] -> [normalizer] -> [added tokens
 *            that match normalized text cut out] -> [pre-tokenizer: words]
 *            -> [merges] -> ids -> [beginning and end marks]
 *   decode:  ids -> pieces -> [decoder steps] -> text
 *
 * Ids equal those of the library, version 0.23, unusual cases included
 * (tests/make-golden-text.py compares). A construct that is not implemented is
 * refused by name when the file is read, never passed over.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct VlmTokenizer VlmTokenizer;

/* Reads `length` bytes of tokenizer.json; `file` begins messages. add_bos and
 * add_eos are the keys add_bos_token and add_eos_token of
 * tokenizer_config.json: 1, 0, or -1 when absent. If either is there,
 * tokenizer.json's post-processor gives way to them (an absent one counts as
 * 0), as in transformers; the marks are then bos_token and eos_token, the
 * strings of tokenizer_config.json (NULL: no mark). */
VlmTokenizer *vlm_tokenizer_new (const char *json, gsize length,
    const char *file, int add_bos, int add_eos, const char *bos_token,
    const char *eos_token, GError **error);
void vlm_tokenizer_free (VlmTokenizer *tokenizer);

/* The same from `length` bytes of tokenizer.model, as SentencePiece writes it:
 * BPE with an identity normalizer. Its ids are those of SentencePiece, which
 * differ from those of a tokenizer.json made of it only where a piece can be
 * merged in several ways at once. An absent add_bos counts as 1, as in
 * transformers' LlamaTokenizer; marks that are NULL are the model's own. */
VlmTokenizer *vlm_tokenizer_new_sentencepiece (const char *bytes, gsize length,
    const char *file, int add_bos, int add_eos, const char *bos_token,
    const char *eos_token, GError **error);

/* JSON files beside a tokenizer.model that list more tokens. */
typedef enum {
  VLM_TOKEN_CONFIG, /* tokenizer_config.json */
  VLM_TOKEN_MAP,    /* special_tokens_map.json */
  VLM_TOKEN_ADDED,  /* added_tokens.json */
  VLM_N_TOKEN_TEXTS
} VlmTokenText;

extern const char *const vlm_token_texts[VLM_N_TOKEN_TEXTS]; /* their names */

/* Enters what they list: the first one's added_tokens_decoder or, without it,
 * the last one's tokens, of which those that the other two name are special. A
 * text is NULL where there is no such file. To be called before the tokenizer
 * is used. */
gboolean vlm_tokenizer_add_listed (VlmTokenizer *tokenizer, const char *folder,
    const char *const texts[VLM_N_TOKEN_TEXTS], GError **error);

/* The id of a token that need not be in the file: where it is not it is cut
 * out of texts from now on, as a special token of the next free id. To be
 * called before the tokenizer is used. */
gint32 vlm_tokenizer_add_marker (VlmTokenizer *tokenizer, const char *token);

/* Appends the ids of text (`length` bytes, or -1 if it ends with a NUL) to
 * ids, an array of gint32, with the beginning and end marks if add_special.
 * Invalid UTF-8 is read as U+FFFD. */
void vlm_tokenizer_encode (const VlmTokenizer *tokenizer, const char *text,
    gssize length, gboolean add_special, GArray *ids);

/* The same for a finished prompt: with marks, unless the text begins with the
 * beginning mark's string already (what chat templates often write). */
void vlm_tokenizer_encode_prompt (const VlmTokenizer *tokenizer,
    const char *text, gssize length, GArray *ids);

/* The text of n ids; ids that do not exist vanish, special tokens too if
 * skip_special. Always valid UTF-8. The caller frees it. */
char *vlm_tokenizer_decode (const VlmTokenizer *tokenizer, const gint32 *ids,
    gsize n, gboolean skip_special);

/* -1 if there is no such token. */
gint32 vlm_tokenizer_id (const VlmTokenizer *tokenizer, const char *token);

/* The token as the file spells it, or NULL; owned by the tokenizer. */
const char *vlm_tokenizer_token (const VlmTokenizer *tokenizer, gint32 id);

/* The highest id plus one. */
int vlm_tokenizer_size (const VlmTokenizer *tokenizer);

/* Whether the id is an added token marked special: it begins, ends or
 * separates, and is no text. */
gboolean vlm_tokenizer_is_special (const VlmTokenizer *tokenizer, gint32 id);

/* Text as it grows. The pieces, put one after the other, are exactly what
 * vlm_tokenizer_decode makes of all ids, so text that a later id could still
 * change is held back: a character whose bytes are incomplete and, in the
 * SentencePiece kind, a run of byte pieces (one bad byte spoils it whole). A
 * stream refers to the tokenizer and belongs to one thread. */
typedef struct VlmTextStream VlmTextStream;

VlmTextStream *vlm_text_stream_new (
    const VlmTokenizer *tokenizer, gboolean skip_special);
void vlm_text_stream_free (VlmTextStream *stream);

/* Appends to text what the next id settles, possibly nothing. */
void vlm_text_stream_push (VlmTextStream *stream, gint32 id, GString *text);

/* Appends what was held back and begins anew. */
void vlm_text_stream_flush (VlmTextStream *stream, GString *text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmTokenizer, vlm_tokenizer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmTextStream, vlm_text_stream_free)

G_END_DECLS
