/* chat-parser.c - tokens to statement nodes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/chat-parts.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "engine/error.h"

ChatNode *
chat_node (ChatParser *parser, ChatNodeKind kind)
{
  ChatNode *node = chat_alloc (parser->run, sizeof *node);
  if (!node)
    return NULL;
  node->kind = kind;
  node->line = parser->at->line;
  node->depth = 1;
  return node;
}

ChatNode *
chat_adopt (ChatParser *parser, ChatNode *node, ChatNode *below)
{
  if (!below)
    return NULL;
  node->depth = MAX (node->depth, below->depth + 1);
  if (node->depth > CHAT_MAX_DEPTH)
    chat_fail (parser->run, VLM_ERROR_DATA,
        "an expression has more than %d parts in a row.", CHAT_MAX_DEPTH);
  return below;
}

static gboolean
at (const ChatParser *parser, ChatTokenKind kind, const char *text)
{
  return !parser->run->failed && parser->at->kind == kind &&
         strcmp (parser->at->text->bytes, text) == 0;
}

gboolean
chat_at_operator (const ChatParser *parser, const char *op)
{
  return at (parser, CHAT_OPERATOR, op);
}

gboolean
chat_at_name (const ChatParser *parser, const char *name)
{
  return at (parser, CHAT_NAME, name);
}

static gboolean
skip_if (ChatParser *parser, gboolean there)
{
  if (there)
    parser->run->line = (++parser->at)->line;
  return there;
}

gboolean
chat_skip_operator (ChatParser *parser, const char *op)
{
  return skip_if (parser, chat_at_operator (parser, op));
}

gboolean
chat_skip_name (ChatParser *parser, const char *name)
{
  return skip_if (parser, chat_at_name (parser, name));
}

void
chat_unexpected (ChatParser *parser, const char *expected)
{
  const ChatToken *token = parser->at;
  if (parser->run->failed)
    return;
  parser->run->line = token->line;
  if (token->text->length)
    chat_fail (parser->run, VLM_ERROR_DATA,
        "%s was expected, but \"%.80s\" was found.", vlm_text (expected),
        token->text->bytes);
  else
    chat_fail (parser->run, VLM_ERROR_DATA,
        token->kind == CHAT_END ? N_ ("%s was expected, but the template ends.")
                                : N_ ("%s was expected, but the tag ends."),
        vlm_text (expected));
}

void
chat_expect_operator (ChatParser *parser, const char *op)
{
  char expected[8];
  g_snprintf (expected, sizeof expected, "\"%s\"", op);
  if (!chat_skip_operator (parser, op))
    chat_unexpected (parser, expected);
}

const char *
chat_expect_name (ChatParser *parser)
{
  if (!parser->run->failed && parser->at->kind == CHAT_NAME) {
    const char *name = parser->at->text->bytes;
    skip_if (parser, TRUE);
    return name;
  }
  chat_unexpected (parser, "a name");
  return NULL;
}

static void
expect_end (ChatParser *parser)
{
  if (parser->run->failed)
    return;
  if (parser->at->kind == CHAT_BLOCK_END)
    skip_if (parser, TRUE);
  else
    chat_unexpected (parser, "the end of the tag");
}

static ChatNode *parse_body (ChatParser *parser, const char *const *ends);

/* After "{%" and the opening word's own words: the body up to the tag `end`,
 * all of it passed. */
static ChatNode *
parse_until (ChatParser *parser, const char *end)
{
  const char *const ends[] = { end, NULL };
  expect_end (parser);
  ChatNode *body = parse_body (parser, ends);
  chat_skip_name (parser, end);
  expect_end (parser);
  return body;
}

/* {% if %}: an elif is an if in the else part of the one before. */
static ChatNode *
parse_if (ChatParser *parser)
{
  static const char *const ends[] = { "elif", "else", "endif", NULL };
  ChatNode *first = NULL, **link = &first;
  do {
    ChatNode *node = *link = chat_node (parser, CHAT_IF);
    if (!node)
      return NULL;
    node->a = chat_parse_tuple (parser, TRUE);
    expect_end (parser);
    node->body = parse_body (parser, ends);
    link = &node->other;
  } while (chat_skip_name (parser, "elif"));
  if (chat_skip_name (parser, "else")) {
    *link = parse_until (parser, "endif");
  } else {
    chat_skip_name (parser, "endif");
    expect_end (parser);
  }
  return first;
}

/* A name that is written to, also as the text that keys a map. */
static void
take_name (ChatParser *parser, ChatNode *node)
{
  ChatText *text = parser->at->text;
  node->name = chat_expect_name (parser);
  node->value = (ChatValue){ .kind = CHAT_TEXT, .text = text };
}

/* Names that are given values: one, or several with commas. */
static ChatNode *
parse_targets (ChatParser *parser)
{
  ChatNode *first = NULL, **tail = &first;
  gboolean bracket = chat_skip_operator (parser, "(");
  do {
    ChatNode *node = *tail = chat_node (parser, CHAT_VARIABLE);
    if (!node)
      return NULL;
    take_name (parser, node);
    tail = &node->next;
  } while (chat_skip_operator (parser, ","));
  if (bracket)
    chat_expect_operator (parser, ")");
  return parser->run->failed ? NULL : first;
}

static ChatNode *
parse_for (ChatParser *parser)
{
  static const char *const ends[] = { "else", "endfor", NULL };
  ChatNode *node = chat_node (parser, CHAT_FOR);
  if (!node)
    return NULL;
  node->args = parse_targets (parser);
  if (!chat_skip_name (parser, "in"))
    chat_unexpected (parser, "\"in\"");
  node->a = chat_parse_tuple (parser, TRUE);
  if (chat_skip_name (parser, "if"))
    node->b = chat_parse_expression (parser);
  if (chat_at_name (parser, "recursive"))
    chat_refuse (parser->run, "a recursive loop");
  expect_end (parser);
  parser->loops++;
  node->body = parse_body (parser, ends);
  parser->loops--;
  if (chat_skip_name (parser, "else")) {
    node->other = parse_until (parser, "endfor");
  } else {
    chat_skip_name (parser, "endfor");
    expect_end (parser);
  }
  return node;
}

/* set a = x, set a, b = x, set a.b = x, set a with a body. */
static ChatNode *
parse_set (ChatParser *parser)
{
  ChatNode *node = chat_node (parser, CHAT_SET);
  if (!node)
    return NULL;
  node->args = parse_targets (parser);
  if (chat_skip_operator (parser, ".")) {
    node->kind = CHAT_SET_PART;
    node->b = node->args;
    take_name (parser, node);
  }
  if (chat_skip_operator (parser, "=")) {
    node->a = chat_parse_tuple (parser, FALSE);
    expect_end (parser);
    return node;
  }
  if (chat_at_operator (parser, "|"))
    chat_refuse (parser->run, "a filter on the body of \"set\"");
  if (node->kind == CHAT_SET_PART || (node->args && node->args->next))
    chat_unexpected (parser, "\"=\"");
  node->kind = CHAT_SET_BODY;
  node->body = parse_until (parser, "endset");
  return node;
}

static ChatNode *
parse_jump (ChatParser *parser, ChatNodeKind kind)
{
  ChatNode *node = chat_node (parser, kind);
  if (!parser->loops)
    chat_fail (parser->run, VLM_ERROR_DATA,
        "\"break\" or \"continue\" stands outside a loop.");
  expect_end (parser);
  return node;
}

static ChatNode *
parse_generation (ChatParser *parser)
{
  ChatNode *node = chat_node (parser, CHAT_SCOPE);
  guint loops = parser->loops;
  parser->loops = 0;
  ChatNode *body = parse_until (parser, "endgeneration");
  parser->loops = loops;
  if (node)
    node->body = body;
  return node;
}

static ChatNode *
parse_tag (ChatParser *parser)
{
  const char *word = chat_expect_name (parser);
  if (!word)
    return NULL;
  if (!strcmp (word, "if"))
    return parse_if (parser);
  if (!strcmp (word, "for"))
    return parse_for (parser);
  if (!strcmp (word, "set"))
    return parse_set (parser);
  if (!strcmp (word, "generation"))
    return parse_generation (parser);
  if (!strcmp (word, "break"))
    return parse_jump (parser, CHAT_BREAK);
  if (!strcmp (word, "continue"))
    return parse_jump (parser, CHAT_CONTINUE);
  if (g_str_has_prefix (word, "end") || !strcmp (word, "else") ||
      !strcmp (word, "elif"))
    chat_fail (parser->run, VLM_ERROR_DATA,
        "\"%.80s\" stands where no tag is open for it.", word);
  else
    chat_refuse (parser->run, "the tag \"%.80s\"", word);
  return NULL;
}

static ChatNode *
parse_output (ChatParser *parser)
{
  ChatNode *node = chat_node (parser, CHAT_WRITE);
  if (!node)
    return NULL;
  node->a = chat_parse_tuple (parser, FALSE);
  if (!parser->run->failed && parser->at->kind == CHAT_OUTPUT_END)
    skip_if (parser, TRUE);
  else
    chat_unexpected (parser, "\"}}\"");
  return node;
}

static ChatNode *
parse_data (ChatParser *parser)
{
  ChatNode *node = chat_node (parser, CHAT_WRITE_DATA);
  if (node)
    node->value = (ChatValue){ .kind = CHAT_TEXT, .text = parser->at->text };
  skip_if (parser, TRUE);
  return node;
}

/* Whether a tag with one of the words comes; then "{%" is passed. */
static gboolean
reached (ChatParser *parser, const char *const *ends)
{
  const ChatToken *tag = parser->at;
  if (tag->kind != CHAT_BLOCK_BEGIN || tag[1].kind != CHAT_NAME)
    return FALSE;
  for (; ends && *ends; ends++)
    if (strcmp (tag[1].text->bytes, *ends) == 0)
      return skip_if (parser, TRUE);
  return FALSE;
}

/* Statements up to a tag with one of the words (NULL: to the very end). */
static ChatNode *
parse_body (ChatParser *parser, const char *const *ends)
{
  ChatNode *first = NULL, **tail = &first;
  if (++parser->depth > CHAT_MAX_DEPTH)
    chat_fail (parser->run, VLM_ERROR_DATA, "tags are nested too deeply.");
  while (!parser->run->failed && !reached (parser, ends)) {
    if (parser->at->kind == CHAT_END) {
      if (ends)
        chat_unexpected (parser, ends[1] ? N_ ("the end of a tag") : *ends);
      break;
    }
    if (parser->at->kind == CHAT_DATA)
      *tail = parse_data (parser);
    else if (skip_if (parser, parser->at->kind == CHAT_OUTPUT_BEGIN))
      *tail = parse_output (parser);
    else if (skip_if (parser, parser->at->kind == CHAT_BLOCK_BEGIN))
      *tail = parse_tag (parser);
    else
      chat_unexpected (parser, "text or a tag");
    if (*tail)
      tail = &(*tail)->next;
  }
  parser->depth--;
  return first;
}

ChatNode *
chat_parse (ChatRun *run, const GArray *tokens)
{
  ChatParser parser = { run, (const ChatToken *) tokens->data };
  if (run->failed)
    return NULL;
  run->line = parser.at->line;
  return parse_body (&parser, NULL);
}
