/* tokenizer-parts.h - the parts of a tokenizer, for tokenizer*.c alone
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tokenizer-load.c or tokenizer-sentencepiece.c fills them, the others run
 * them.
 */
#pragma once

#include "engine/tokenizer.h"
#include "engine/tokenizer-bpe.h"

G_BEGIN_DECLS

/* Normalizer. */

typedef enum {
  VLM_NORMALIZE_PREPEND,
  VLM_NORMALIZE_REPLACE,
  VLM_NORMALIZE_NFC,
} VlmNormalizeKind;

typedef struct {
  VlmNormalizeKind kind;
  char *pattern; /* REPLACE: this text, never empty */
  char *content; /* REPLACE: becomes this; PREPEND: goes before */
} VlmNormalizeStep;

/* Runs the steps on text; the result replaces what out held. */
void vlm_normalize (
    const GArray *steps, const char *text, gsize length, GString *out);

/* Replaces every occurrence of pattern, left to right. */
void vlm_replace (const char *text, gsize length, const char *pattern,
    const char *content, GString *out);

/* Pre-tokenizer. */

/* The regular expressions of known checkpoints, as a scanner's rules. */
typedef struct {
  const char *regex;  /* as tokenizer.json spells it */
  gboolean any_case;  /* of the contractions 's 't 're ... */
  gboolean joins_any; /* letters take one non-letter before them, else
                         one space */
  guint max_digits;   /* 0: any number, and one space before them */
  gboolean lines;     /* line ends join punctuation and end space runs */
} VlmSplitRules;

/* NULL if the expression is not known. */
const VlmSplitRules *vlm_split_rules_find (const char *regex);
const VlmSplitRules *vlm_split_rules_gpt2 (void);

typedef enum {
  VLM_WORDS_SPLIT,
  VLM_WORDS_BYTE_LEVEL,
  VLM_WORDS_METASPACE,
} VlmWordsKind;

typedef enum {
  VLM_PREPEND_ALWAYS,
  VLM_PREPEND_FIRST, /* only where the text begins */
  VLM_PREPEND_NEVER,
} VlmPrependScheme;

typedef struct {
  VlmWordsKind kind;
  const VlmSplitRules *rules; /* SPLIT; BYTE_LEVEL: NULL if it only maps */
  gboolean prefix_space;      /* BYTE_LEVEL */
  char *replacement;          /* METASPACE: stands for a space */
  VlmPrependScheme scheme;    /* METASPACE */
  gboolean split;             /* METASPACE: cut before each replacement */
} VlmWordsStep;

/* Called for each word in turn; the text is the callee's during the call. */
typedef void (*VlmWordFunc) (const char *word, gsize length, gpointer data);

/* Runs the steps on a section; `first` says that it begins the text. */
void vlm_words (const GArray *steps, const char *text, gsize length,
    gboolean first, VlmWordFunc func, gpointer data);

/* The character that stands for a byte, and back (-1: for none). */
gunichar vlm_byte_to_char (guint8 byte);
int vlm_char_to_byte (gunichar c);

/* Added tokens. */

typedef struct {
  guint32 id;
  char *content;
  char *pattern; /* what it matches: content, normalized if `normalized` */
  gboolean single_word, lstrip, rstrip, normalized, special;
} VlmAddedToken;

/* Added tokens by what they match; index into `added`. */
typedef struct {
  GArray *order;    /* guint, by first byte, then longest first */
  guint first[257]; /* where each first byte's begin in order */
} VlmAddedIndex;

void vlm_added_index_init (
    VlmAddedIndex *index, const GArray *added, gboolean normalized);
void vlm_added_index_clear (VlmAddedIndex *index);

/* A section of text, or an added token between sections (token != NULL). */
typedef void (*VlmSectionFunc) (
    const char *text, gsize length, const VlmAddedToken *token, gpointer data);

/* Cuts text at added tokens and calls func for each part, empty ones but. */
void vlm_added_split (const VlmAddedIndex *index, const GArray *added,
    const char *text, gsize length, VlmSectionFunc func, gpointer data);

/* Decoder. */

typedef enum {
  VLM_DECODE_REPLACE,
  VLM_DECODE_BYTE_FALLBACK,
  VLM_DECODE_FUSE,
  VLM_DECODE_STRIP,
  VLM_DECODE_BYTE_LEVEL,
  VLM_DECODE_METASPACE,
  VLM_DECODE_JOIN, /* no decoder: a space between pieces */
} VlmDecodeKind;

typedef struct {
  VlmDecodeKind kind;
  char *pattern, *content; /* REPLACE */
  gunichar strip;          /* STRIP: this character */
  guint start, stop;       /* STRIP: at most so many at either end */
  char *replacement;       /* METASPACE */
  gboolean drop_first;     /* METASPACE: the first piece's are removed */
} VlmDecodeStep;

/* The whole. */

struct VlmTokenizer {
  VlmBpe *bpe;
  GArray *added;       /* VlmAddedToken, by id */
  GHashTable *special; /* contents of special tokens, owned */
  VlmAddedIndex raw, normalized;
  GArray *normalizer;     /* VlmNormalizeStep */
  GArray *words;          /* VlmWordsStep */
  GArray *decoder;        /* VlmDecodeStep */
  GArray *before, *after; /* gint32: the marks */
  char *bos_token;        /* or NULL */
  int size;
};

/* An empty one, for the readers of files to fill. */
VlmTokenizer *vlm_tokenizer_alloc (void);

/* Enters an added token (content is copied); it is found once
 * vlm_tokenizer_index has been called. */
void vlm_tokenizer_add_token (
    VlmTokenizer *tokenizer, const VlmAddedToken *token);
void vlm_tokenizer_index (VlmTokenizer *tokenizer);

/* Marks around every text, in the place of those there were. */
gboolean vlm_tokenizer_set_marks (VlmTokenizer *tokenizer, gboolean bos,
    gboolean eos, const char *bos_token, const char *eos_token,
    const char *file, GError **error);

/* Reads the parts; FALSE and a message if one is not known. */
gboolean vlm_tokenizer_load (VlmTokenizer *tokenizer, const char *json,
    gsize length, const char *file, GError **error);

/* The added token of an id, or NULL. */
const VlmAddedToken *vlm_tokenizer_added (
    const VlmTokenizer *tokenizer, gint32 id);

G_END_DECLS
