/* chat-lexer.c - template source to tokens
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * White space around tags is settled here, as Jinja's lexer does it under
 * trim_blocks and lstrip_blocks: a line end after %} or #} goes, blanks
 * between a line's begin and {% or {# go, "-" takes all white space on its
 * side, "+" keeps what would go.
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"
#include "engine/unicode.h"

typedef struct {
  ChatRun *run;
  const char *at, *end;
  gboolean line_starting; /* the last tag ended with a line end */
  GArray *tokens;
} Lexer;

static ChatToken *
add (Lexer *lexer, ChatTokenKind kind, const char *text, gsize length)
{
  ChatToken token = { kind, lexer->run->line };
  ChatValue value = chat_text (lexer->run, text, length);
  token.text = value.kind == CHAT_TEXT ? value.text : NULL;
  g_array_append_val (lexer->tokens, token);
  return &g_array_index (lexer->tokens, ChatToken, lexer->tokens->len - 1);
}

/* Moves on, counting lines. */
static void
advance (Lexer *lexer, const char *to)
{
  for (; lexer->at < to; lexer->at++)
    lexer->run->line += *lexer->at == '\n';
}

static gboolean
looking_at (const Lexer *lexer, const char *p, const char *text)
{
  gsize n = strlen (text);
  return (gsize) (lexer->end - p) >= n && memcmp (p, text, n) == 0;
}

static const char *
skip_spaces (const char *p, const char *end)
{
  while (p < end && chat_is_space (g_utf8_get_char (p)))
    p = g_utf8_next_char (p);
  return p;
}

/* Where the white space that ends at `end` begins. */
static const char *
back_spaces (const char *begin, const char *end)
{
  while (end > begin) {
    const char *last = g_utf8_prev_char (end);
    if (!chat_is_space (g_utf8_get_char (last)))
      break;
    end = last;
  }
  return end;
}

/* Text up to a tag, less what the tag takes of it. */
static void
add_data (Lexer *lexer, const char *stop, char sign, gboolean is_output)
{
  const char *begin = lexer->at, *end = stop, *line = stop;
  if (sign == '-') {
    end = back_spaces (begin, stop);
  } else if (sign != '+' && !is_output) {
    while (line > begin && line[-1] != '\n')
      line--;
    if ((line > begin || lexer->line_starting) &&
        skip_spaces (line, stop) == stop)
      end = line;
  }
  if (end > begin)
    add (lexer, CHAT_DATA, begin, end - begin);
  advance (lexer, stop);
}

/* Past a tag's end; trims says that a line end may go with it. */
static void
end_tag (Lexer *lexer, gsize length, char sign, gboolean trims)
{
  const char *p = lexer->at + length;
  if (sign == '-')
    p = skip_spaces (p, lexer->end);
  else if (sign != '+' && trims && p < lexer->end && *p == '\n')
    p++;
  lexer->line_starting = p[-1] == '\n';
  advance (lexer, p);
}

static void
lex_comment (Lexer *lexer, const char *begin)
{
  const char *p = begin;
  while (p < lexer->end && !looking_at (lexer, p, "#}"))
    p++;
  if (p == lexer->end) {
    chat_fail (lexer->run, VLM_ERROR_DATA, "a comment has no end.");
    return;
  }
  char sign = p > begin ? p[-1] : 0;
  advance (lexer, p);
  end_tag (lexer, 2, sign, TRUE);
}

/* The "%}" after a tag's only word, with its sign; NULL if it is no such. */
static const char *
single_word_tag (
    const Lexer *lexer, const char *p, const char *word, char *sign)
{
  p += 2;
  p += p < lexer->end && (*p == '-' || *p == '+');
  p = skip_spaces (p, lexer->end);
  if (!looking_at (lexer, p, word))
    return NULL;
  p = skip_spaces (p + strlen (word), lexer->end);
  *sign = p < lexer->end ? *p : 0;
  if (*sign == '-' || *sign == '+')
    p++;
  return looking_at (lexer, p, "%}") ? p : NULL;
}

/* {% raw %} ... {% endraw %}: tags inside are text. */
static void
lex_raw (Lexer *lexer, const char *tag_end, char sign)
{
  const char *stop, *close = NULL;
  char close_sign = 0;
  advance (lexer, tag_end);
  end_tag (lexer, 2, sign, FALSE);
  for (stop = lexer->at; stop < lexer->end; stop++)
    if (looking_at (lexer, stop, "{%") &&
        (close = single_word_tag (lexer, stop, "endraw", &close_sign)))
      break;
  if (!close) {
    chat_fail (lexer->run, VLM_ERROR_DATA, "\"raw\" has no end.");
    return;
  }
  add_data (lexer, stop, stop[2], FALSE);
  advance (lexer, close);
  end_tag (lexer, 2, close_sign, TRUE);
}

static gboolean
is_name (gunichar c, gboolean first)
{
  return c == '_' ||
         (vlm_unicode_is_word (c) && !(first && vlm_unicode_is_number (c)));
}

static void
lex_name (Lexer *lexer)
{
  const char *p = lexer->at;
  while (p < lexer->end && is_name (g_utf8_get_char (p), FALSE))
    p = g_utf8_next_char (p);
  add (lexer, CHAT_NAME, lexer->at, p - lexer->at);
  advance (lexer, p);
}

static void
lex_number (Lexer *lexer)
{
  const char *p = lexer->at;
  gint64 value = 0;
  gboolean fits = TRUE;
  for (; p < lexer->end && (g_ascii_isdigit (*p) || *p == '_'); p++)
    if (*p != '_')
      fits = fits && !__builtin_mul_overflow (value, 10, &value) &&
             !__builtin_add_overflow (value, *p - '0', &value);
  if (!fits)
    chat_refuse (lexer->run, "so large a number");
  if (p + 1 < lexer->end &&
      (g_ascii_isalpha (*p) || (*p == '.' && g_ascii_isdigit (p[1]))))
    chat_refuse (lexer->run, "a number other than a decimal whole one");
  add (lexer, CHAT_NUMBER, lexer->at, p - lexer->at)->integer = value;
  advance (lexer, p);
}

/* The code of \x41, \u0041 or \U00000041 at p (past the letter), U+FFFD if
 * it is none that text can hold; -1 if digits are missing. */
static gint64
hex_code (const Lexer *lexer, const char *p, int digits)
{
  gint64 code = 0;
  for (int i = 0; i < digits; i++) {
    int digit = p + i < lexer->end ? g_ascii_xdigit_value (p[i]) : -1;
    if (digit < 0)
      return -1;
    code = code << 4 | digit;
  }
  return code <= 0x10ffff && g_unichar_validate (code) ? code : 0xfffd;
}

/* One escape, p past the backslash; returns where it ends. */
static const char *
unescape (const Lexer *lexer, const char *p, GString *out)
{
  static const char letters[] = "ntrabfv\\'\"";
  static const char meanings[] = "\n\t\r\a\b\f\v\\'\"";
  const char *letter = *p ? strchr (letters, *p) : NULL;
  int digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
  if (letter) {
    g_string_append_c (out, meanings[letter - letters]);
    return p + 1;
  }
  if (*p == '\n')
    return p + 1;
  if (*p >= '0' && *p <= '7') {
    guint code = 0;
    for (int i = 0; i < 3 && *p >= '0' && *p <= '7'; i++)
      code = 8 * code + *p++ - '0';
    g_string_append_unichar (out, code);
    return p;
  }
  if (digits) {
    gint64 code = hex_code (lexer, p + 1, digits);
    if (code < 0)
      chat_fail (lexer->run, VLM_ERROR_DATA, "\\%c lacks digits.", *p);
    else
      g_string_append_unichar (out, code);
    return p + 1 + digits;
  }
  if (*p == 'N')
    chat_refuse (lexer->run, "a character by its name (\\N)");
  g_string_append_c (out, '\\');
  return p;
}

static void
lex_string (Lexer *lexer)
{
  g_autoptr (GString) text = g_string_new (NULL);
  char quote = *lexer->at;
  const char *p = lexer->at + 1;
  while (p < lexer->end && *p != quote && !lexer->run->failed) {
    if (*p == '\\' && p + 1 < lexer->end)
      p = unescape (lexer, p + 1, text);
    else
      g_string_append_c (text, *p++);
  }
  if (lexer->run->failed)
    return;
  if (p >= lexer->end) {
    chat_fail (lexer->run, VLM_ERROR_DATA, "a string has no end.");
    return;
  }
  add (lexer, CHAT_STRING, text->str, text->len);
  advance (lexer, p + 1);
}

static void
lex_operator (Lexer *lexer)
{
  static const char *const operators[] = { "**", "//",
    "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]",
    "{", "}", "<", ">", "=", ".", ":", "|", ",", ";" };
  for (gsize i = 0; i < G_N_ELEMENTS (operators); i++) {
    gsize n = strlen (operators[i]);
    if (looking_at (lexer, lexer->at, operators[i])) {
      add (lexer, CHAT_OPERATOR, operators[i], n);
      advance (lexer, lexer->at + n);
      return;
    }
  }
  const char *next = g_utf8_next_char (lexer->at);
  chat_fail (lexer->run, VLM_ERROR_DATA, "\"%.*s\" has no meaning in a tag.",
      (int) (next - lexer->at), lexer->at);
}

static void
lex_token (Lexer *lexer)
{
  gunichar c = g_utf8_get_char (lexer->at);
  if (is_name (c, TRUE))
    lex_name (lexer);
  else if (g_ascii_isdigit (*lexer->at))
    lex_number (lexer);
  else if (c == '\'' || c == '"')
    lex_string (lexer);
  else
    lex_operator (lexer);
}

/* Counts brackets, so that "}}" in a map literal does not end the tag. */
static int
nesting (const Lexer *lexer, int open)
{
  const ChatToken *last =
      &g_array_index (lexer->tokens, ChatToken, lexer->tokens->len - 1);
  if (lexer->run->failed || last->kind != CHAT_OPERATOR)
    return open;
  if (strchr ("([{", last->text->bytes[0]))
    return open + 1;
  return strchr (")]}", last->text->bytes[0]) ? MAX (open - 1, 0) : open;
}

static void
lex_tag (Lexer *lexer, gboolean is_output)
{
  const char *close = is_output ? "}}" : "%}";
  int open = 0;
  add (lexer, is_output ? CHAT_OUTPUT_BEGIN : CHAT_BLOCK_BEGIN, "", 0);
  while (!lexer->run->failed) {
    advance (lexer, skip_spaces (lexer->at, lexer->end));
    if (lexer->at == lexer->end) {
      chat_fail (lexer->run, VLM_ERROR_DATA, "a tag has no end (%s).", close);
      return;
    }
    char sign =
        *lexer->at == '-' || (*lexer->at == '+' && !is_output) ? *lexer->at : 0;
    if (open == 0 && looking_at (lexer, lexer->at + (sign != 0), close)) {
      add (lexer, is_output ? CHAT_OUTPUT_END : CHAT_BLOCK_END, "", 0);
      advance (lexer, lexer->at + (sign != 0));
      end_tag (lexer, 2, sign, !is_output);
      return;
    }
    lex_token (lexer);
    open = nesting (lexer, open);
  }
}

/* From text to the next tag, and the tag. */
static void
lex_part (Lexer *lexer)
{
  const char *tag = lexer->at, *raw = NULL;
  char sign = 0, raw_sign = 0;
  while (tag < lexer->end && !looking_at (lexer, tag, "{%") &&
         !looking_at (lexer, tag, "{{") && !looking_at (lexer, tag, "{#"))
    tag++;
  if (tag == lexer->end) {
    if (tag > lexer->at)
      add (lexer, CHAT_DATA, lexer->at, tag - lexer->at);
    advance (lexer, tag);
    return;
  }
  if (tag + 2 < lexer->end && (tag[2] == '-' || tag[2] == '+'))
    sign = tag[2];
  if (tag[1] == '%')
    raw = single_word_tag (lexer, tag, "raw", &raw_sign);
  if (raw_sign == '+') /* Jinja knows no such tag */
    raw = NULL;
  add_data (lexer, tag, sign, tag[1] == '{');
  if (tag[1] == '#') {
    lex_comment (lexer, tag + 2 + (sign != 0));
  } else if (raw) {
    lex_raw (lexer, raw, raw_sign);
  } else {
    advance (lexer, tag + 2 + (sign != 0));
    lex_tag (lexer, tag[1] == '{');
  }
}

/* One kind of line end, and none at the very end. */
static char *
plain_lines (const char *source)
{
  GString *out = g_string_new (NULL);
  for (const char *p = source; *p; p++) {
    if (*p == '\r' && p[1] == '\n')
      continue;
    g_string_append_c (out, *p == '\r' ? '\n' : *p);
  }
  if (out->len && out->str[out->len - 1] == '\n')
    g_string_truncate (out, out->len - 1);
  return g_string_free (out, FALSE);
}

GArray *
chat_lex (ChatRun *run, const char *source)
{
  g_autofree char *text = plain_lines (source);
  Lexer lexer = { run, text, text + strlen (text), TRUE,
    g_array_new (FALSE, FALSE, sizeof (ChatToken)) };
  run->line = 1;
  while (lexer.at < lexer.end && !run->failed)
    lex_part (&lexer);
  add (&lexer, CHAT_END, "", 0);
  return lexer.tokens;
}
