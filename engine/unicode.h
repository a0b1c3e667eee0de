/* unicode.h - what a tokenizer asks about characters
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Own tables, not GLib's: ids must not depend on the system's Unicode version
 * (tests/make-unicode-tables.py says where these come from).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean vlm_unicode_is_letter (gunichar c); /* \p{L} */
gboolean vlm_unicode_is_number (gunichar c); /* \p{N} */
gboolean vlm_unicode_is_space (gunichar c);  /* White_Space */
gboolean vlm_unicode_is_word (gunichar c);   /* \w of Rust's regex */

/* Appends the NFC form of valid UTF-8 to out. */
void vlm_unicode_nfc (const char *text, gsize length, GString *out);

/* A copy of text with each maximal invalid part replaced by one U+FFFD, as
 * Unicode recommends and Rust does. NULs are text like any other. */
char *vlm_utf8_repair (const char *text, gsize length, gsize *repaired);

/* The state of a decoder that is fed byte by byte: the bytes of a character
 * that is not complete yet. Zero to begin. */
typedef struct {
  guint8 held[4];
  guint n_held;
} VlmUtf8State;

/* Appends what the next byte settles: a character, U+FFFD for bytes that can
 * begin none, or nothing. */
void vlm_utf8_push (VlmUtf8State *state, guint8 byte, GString *out);

/* Appends U+FFFD for a character that never became complete. */
void vlm_utf8_flush (VlmUtf8State *state, GString *out);

G_END_DECLS
