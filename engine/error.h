/* error.h - the engine's error domain
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Messages are whole sentences that name the file, tensor or setting, what
 * was expected and what was found. What they name goes with the error for
 * programs to read, through g_error_copy() and g_prefix_error() too.
 *
 * Sentences are in the language of the process's locale where the catalog of
 * GETTEXT_PACKAGE, which the plugin and the tools bind, has them; what they
 * name stays in English.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define VLM_ERROR (vlm_error_quark ())
GQuark vlm_error_quark (void);

typedef enum {
  VLM_ERROR_SETTINGS,   /* a setting is unset, unknown or does not combine */
  VLM_ERROR_NOT_FOUND,  /* folder or file missing */
  VLM_ERROR_OPEN,       /* there, but cannot be read */
  VLM_ERROR_DATA,       /* truncated, bad header, wrong shape, broken JSON */
  VLM_ERROR_WRONG_TYPE, /* not a family, activation, RoPE ... we know */
  VLM_ERROR_DEVICE,     /* device absent, driver too old */
  VLM_ERROR_NO_MEMORY,  /* does not fit */
  VLM_ERROR_LOST,       /* the device failed while running */
  VLM_ERROR_REQUEST,    /* this description cannot be done: too long ... */
  VLM_ERROR_CANCELLED,
} VlmError;

/* What an error is about; NULL or 0 where that is not known or has no place.
 * Expected and found are phrases, as the sentence has them. */
typedef struct {
  const char *file;     /* or the folder */
  const char *tensor;   /* as the file spells it */
  const char *key;      /* its path in a JSON file: "text_config.head_dim" */
  const char *setting;  /* as the element's property is called */
  const char *expected; /* "a file", "[64,32]", "a number from 0 to 1" */
  const char *found;    /* "there is none", "[32,64]", "1.5" */
  guint64 needed_bytes; /* of memory */
  guint64 free_bytes;   /* of memory; counts if any are needed */
} VlmErrorDetails;

/* The details of a call, field by field: VLM_ABOUT (.file = path). With
 * parentheses xgettext still finds the sentence after them. */
#define VLM_ABOUT(...) (&(VlmErrorDetails){ __VA_ARGS__ })

/* The translation of a sentence or phrase; itself where there is none. */
const char *vlm_text (const char *text) G_GNUC_FORMAT (1);

/* Sets an error, with a copy of what it is about (NULL: nothing). Returns
 * FALSE, as the caller is likely to. Looks the format up; of its arguments
 * those that are phrases take vlm_text(). */
gboolean vlm_fail (GError **error, VlmError code, const VlmErrorDetails *about,
    const char *format, ...) G_GNUC_PRINTF (4, 5);

/* Sets "FILE: EXPECTED was expected, but FOUND." and its details; returns
 * FALSE. Looks the phrases up. */
gboolean vlm_fail_expected (GError **error, VlmError code, const char *file,
    const char *expected, const char *found);

/* Borrowed; NULL if the error is not the engine's. */
const VlmErrorDetails *vlm_error_details (const GError *error);

G_END_DECLS
