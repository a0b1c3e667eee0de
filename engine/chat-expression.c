/* chat-expression.c - tokens to expression nodes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Precedence from loose to tight, as in Jinja: if-else, or, and, not,
 * comparison, + -, ~, * / // %, sign, then attributes, calls, filters, tests.
 */
#include "engine/chat-parts.h"

#include <string.h>

#include "engine/error.h"

static ChatNode *parse_or (ChatParser *parser);
static ChatNode *parse_unary (ChatParser *parser, gboolean filters);

static ChatNode *
binary (ChatParser *parser, const char *op, ChatNode *a, ChatNode *b)
{
  ChatNode *node = chat_node (parser, CHAT_BINARY);
  if (!node)
    return NULL;
  node->name = op;
  node->a = chat_adopt (parser, node, a);
  node->b = chat_adopt (parser, node, b);
  return node;
}

/* The operator of a list that comes next, passed over; NULL if none does. */
static const char *
skip_one_of (ChatParser *parser, const char *const *operators)
{
  for (; *operators; operators++)
    if (chat_skip_operator (parser, *operators))
      return *operators;
  return NULL;
}

static ChatNode *
literal (ChatParser *parser, ChatValue value)
{
  ChatNode *node = chat_node (parser, CHAT_LITERAL);
  if (node)
    node->value = value;
  return node;
}

static ChatNode *
parse_name (ChatParser *parser)
{
  const char *name = chat_expect_name (parser);
  if (!name)
    return NULL;
  if (!strcmp (name, "true") || !strcmp (name, "True"))
    return literal (parser, chat_boolean (TRUE));
  if (!strcmp (name, "false") || !strcmp (name, "False"))
    return literal (parser, chat_boolean (FALSE));
  if (!strcmp (name, "none") || !strcmp (name, "None"))
    return literal (parser, chat_none ());
  ChatNode *node = chat_node (parser, CHAT_VARIABLE);
  if (node)
    node->name = name;
  return node;
}

/* Neighbouring strings are one. */
static ChatNode *
parse_string (ChatParser *parser)
{
  g_autoptr (GString) text = g_string_new (NULL);
  while (parser->at->kind == CHAT_STRING) {
    g_string_append_len (
        text, parser->at->text->bytes, parser->at->text->length);
    parser->at++;
  }
  return literal (parser, chat_text (parser->run, text->str, text->len));
}

/* Expressions up to a closing bracket, chained; pairs have colons between. */
static ChatNode *
parse_items (
    ChatParser *parser, ChatNode *node, const char *close, gboolean pairs)
{
  ChatNode **tail = node ? &node->args : NULL;
  while (!parser->run->failed && !chat_skip_operator (parser, close)) {
    if (node->args)
      chat_expect_operator (parser, ",");
    if (chat_skip_operator (parser, close))
      break;
    for (int i = 0; i < (pairs ? 2 : 1) && !parser->run->failed; i++) {
      if (i == 1)
        chat_expect_operator (parser, ":");
      *tail = chat_adopt (parser, node, chat_parse_expression (parser));
      tail = *tail ? &(*tail)->next : tail;
    }
  }
  return node;
}

static ChatNode *
parse_primary (ChatParser *parser)
{
  const ChatToken *token = parser->at;
  switch (token->kind) {
  case CHAT_NAME:
    return parse_name (parser);
  case CHAT_STRING:
    return parse_string (parser);
  case CHAT_NUMBER:
    parser->at++;
    return literal (parser, chat_integer (token->integer));
  default:
    break;
  }
  if (chat_skip_operator (parser, "[")) {
    ChatNode *list = chat_node (parser, CHAT_MAKE_LIST);
    return parse_items (parser, list, "]", FALSE);
  }
  if (chat_skip_operator (parser, "{")) {
    ChatNode *map = chat_node (parser, CHAT_MAKE_MAP);
    return parse_items (parser, map, "}", TRUE);
  }
  if (chat_skip_operator (parser, "(")) {
    if (chat_skip_operator (parser, ")"))
      return chat_node (parser, CHAT_MAKE_LIST);
    ChatNode *inner = chat_parse_tuple (parser, FALSE);
    chat_expect_operator (parser, ")");
    return inner;
  }
  chat_unexpected (parser, "an expression");
  return NULL;
}

/* "(" is passed; fills node->args up to ")". */
static void
parse_args (ChatParser *parser, ChatNode *node)
{
  ChatNode **tail = &node->args;
  gboolean named = FALSE;
  while (!parser->run->failed && !chat_skip_operator (parser, ")")) {
    const char *name = NULL;
    if (node->args)
      chat_expect_operator (parser, ",");
    if (chat_skip_operator (parser, ")"))
      return;
    if (chat_at_operator (parser, "*") || chat_at_operator (parser, "**")) {
      chat_refuse (parser->run, "\"*\" before an argument");
      return;
    }
    if (parser->at->kind == CHAT_NAME && parser->at[1].kind == CHAT_OPERATOR &&
        !strcmp (parser->at[1].text->bytes, "=")) {
      name = parser->at->text->bytes;
      parser->at += 2;
    } else if (named) {
      chat_unexpected (parser, "an argument by name");
      return;
    }
    named = name != NULL;
    ChatNode *arg = chat_node (parser, CHAT_ARGUMENT);
    if (!arg)
      return;
    arg->name = name;
    arg->a = chat_adopt (parser, node, chat_parse_expression (parser));
    *tail = arg;
    tail = &arg->next;
  }
}

/* "[" is passed: a[b], a[b:c:d] */
static ChatNode *
parse_subscript (ChatParser *parser, ChatNode *value)
{
  ChatNode *node = chat_node (parser, CHAT_ITEM);
  if (!node)
    return NULL;
  node->a = chat_adopt (parser, node, value);
  ChatNode **parts[] = { &node->b, &node->c, &node->d };
  for (int i = 0; i < 3 && !chat_at_operator (parser, "]"); i++) {
    if (!chat_at_operator (parser, ":"))
      *parts[i] = chat_adopt (parser, node, chat_parse_expression (parser));
    if (parser->run->failed || !chat_skip_operator (parser, ":"))
      break;
    node->kind = CHAT_SLICE;
  }
  if (node->kind == CHAT_ITEM && !node->b)
    chat_unexpected (parser, "a subscript");
  chat_expect_operator (parser, "]");
  return node;
}

static ChatNode *
parse_attribute (ChatParser *parser, ChatNode *value)
{
  gboolean number = parser->at->kind == CHAT_NUMBER;
  ChatNode *node = chat_node (parser, number ? CHAT_ITEM : CHAT_ATTRIBUTE);
  if (!node)
    return NULL;
  node->a = chat_adopt (parser, node, value);
  if (number)
    node->b = parse_primary (parser);
  else
    node->name = chat_expect_name (parser);
  return node;
}

static ChatNode *
parse_call (ChatParser *parser, ChatNode *function)
{
  ChatNode *node = chat_node (parser, CHAT_CALL);
  if (!node)
    return NULL;
  node->a = chat_adopt (parser, node, function);
  parse_args (parser, node);
  return node;
}

static ChatNode *
parse_postfix (ChatParser *parser, ChatNode *node)
{
  while (!parser->run->failed) {
    if (chat_skip_operator (parser, "."))
      node = parse_attribute (parser, node);
    else if (chat_skip_operator (parser, "["))
      node = parse_subscript (parser, node);
    else if (chat_skip_operator (parser, "("))
      node = parse_call (parser, node);
    else
      break;
  }
  return node;
}

static ChatNode *
parse_filter (ChatParser *parser, ChatNode *value)
{
  ChatNode *node = chat_node (parser, CHAT_FILTER);
  const char *name = chat_expect_name (parser);
  if (!node || !name)
    return NULL;
  node->name = name;
  node->a = chat_adopt (parser, node, value);
  if (chat_skip_operator (parser, "("))
    parse_args (parser, node);
  return node;
}

/* Whether a test's argument follows without brackets: "is divisibleby 3". */
static gboolean
at_bare_argument (const ChatParser *parser)
{
  static const char *const words[] = { "else", "or", "and", "is", "if", "in",
    "not" };
  if (parser->at->kind == CHAT_STRING || parser->at->kind == CHAT_NUMBER)
    return TRUE;
  if (parser->at->kind != CHAT_NAME)
    return chat_at_operator (parser, "[") || chat_at_operator (parser, "{");
  for (gsize i = 0; i < G_N_ELEMENTS (words); i++)
    if (chat_at_name (parser, words[i]))
      return FALSE;
  return TRUE;
}

static ChatNode *
parse_test (ChatParser *parser, ChatNode *value)
{
  gboolean negated = chat_skip_name (parser, "not");
  ChatNode *node = chat_node (parser, CHAT_TEST);
  const char *name = chat_expect_name (parser);
  if (!node || !name)
    return NULL;
  node->name = name;
  node->a = chat_adopt (parser, node, value);
  if (chat_skip_operator (parser, "(")) {
    parse_args (parser, node);
  } else if (at_bare_argument (parser)) {
    node->args = chat_node (parser, CHAT_ARGUMENT);
    if (node->args)
      node->args->a = chat_adopt (
          parser, node, parse_postfix (parser, parse_primary (parser)));
  } else if (chat_at_name (parser, "is")) {
    chat_unexpected (parser, "no second \"is\"");
  }
  if (!negated)
    return node;
  ChatNode *negation = chat_node (parser, CHAT_NOT);
  if (negation)
    negation->a = chat_adopt (parser, negation, node);
  return negation;
}

static ChatNode *
parse_filters (ChatParser *parser, ChatNode *node)
{
  while (!parser->run->failed) {
    if (chat_skip_operator (parser, "|"))
      node = parse_filter (parser, node);
    else if (chat_skip_name (parser, "is"))
      node = parse_test (parser, node);
    else if (chat_skip_operator (parser, "("))
      node = parse_call (parser, node);
    else
      break;
  }
  return node;
}

static ChatNode *
parse_signed (ChatParser *parser, ChatNodeKind kind)
{
  ChatNode *node = chat_node (parser, kind);
  if (++parser->depth > CHAT_MAX_DEPTH)
    chat_fail (
        parser->run, VLM_ERROR_DATA, "expressions are nested too deeply.");
  if (node && !parser->run->failed)
    node->a = chat_adopt (parser, node, parse_unary (parser, FALSE));
  parser->depth--;
  return node;
}

static ChatNode *
parse_unary (ChatParser *parser, gboolean filters)
{
  ChatNode *node;
  if (chat_skip_operator (parser, "-"))
    node = parse_signed (parser, CHAT_NEGATE);
  else if (chat_skip_operator (parser, "+"))
    node = parse_signed (parser, CHAT_PLUS);
  else
    node = parse_primary (parser);
  node = parse_postfix (parser, node);
  return filters ? parse_filters (parser, node) : node;
}

static ChatNode *
parse_product (ChatParser *parser)
{
  static const char *const operators[] = { "*", "/", "//", "%", NULL };
  ChatNode *node = parse_unary (parser, TRUE);
  const char *op;
  if (chat_at_operator (parser, "**"))
    chat_refuse (parser->run, "the operator \"**\"");
  while (!parser->run->failed && (op = skip_one_of (parser, operators)))
    node = binary (parser, op, node, parse_unary (parser, TRUE));
  return node;
}

static ChatNode *
parse_concat (ChatParser *parser)
{
  ChatNode *node = parse_product (parser);
  while (!parser->run->failed && chat_skip_operator (parser, "~"))
    node = binary (parser, "~", node, parse_product (parser));
  return node;
}

static ChatNode *
parse_sum (ChatParser *parser)
{
  static const char *const operators[] = { "+", "-", NULL };
  ChatNode *node = parse_concat (parser);
  const char *op;
  while (!parser->run->failed && (op = skip_one_of (parser, operators)))
    node = binary (parser, op, node, parse_concat (parser));
  return node;
}

static const char *
skip_comparison (ChatParser *parser)
{
  static const char *const operators[] = { "==", "!=", "<=", ">=", "<", ">",
    NULL };
  if (chat_skip_name (parser, "in"))
    return "in";
  if (chat_at_name (parser, "not") && parser->at[1].kind == CHAT_NAME &&
      !strcmp (parser->at[1].text->bytes, "in")) {
    parser->at += 2;
    return "not in";
  }
  return skip_one_of (parser, operators);
}

/* a < b < c means a < b and b < c. */
static ChatNode *
parse_comparison (ChatParser *parser)
{
  ChatNode *node = parse_sum (parser), *left = node;
  const char *op;
  gboolean first = TRUE;
  while (!parser->run->failed && (op = skip_comparison (parser))) {
    ChatNode *right = parse_sum (parser);
    ChatNode *pair = binary (parser, op, left, right);
    left = right;
    if (first) {
      node = pair;
      first = FALSE;
      continue;
    }
    ChatNode *both = chat_node (parser, CHAT_AND);
    if (!both)
      return NULL;
    both->a = chat_adopt (parser, both, node);
    both->b = chat_adopt (parser, both, pair);
    node = both;
  }
  return node;
}

static ChatNode *
parse_not (ChatParser *parser)
{
  if (!chat_skip_name (parser, "not"))
    return parse_comparison (parser);
  ChatNode *node = chat_node (parser, CHAT_NOT);
  if (++parser->depth > CHAT_MAX_DEPTH)
    chat_fail (
        parser->run, VLM_ERROR_DATA, "expressions are nested too deeply.");
  if (node && !parser->run->failed)
    node->a = chat_adopt (parser, node, parse_not (parser));
  parser->depth--;
  return node;
}

static ChatNode *
parse_junction (ChatParser *parser, const char *word, ChatNodeKind kind,
    ChatNode *(*parse_part) (ChatParser *parser))
{
  ChatNode *node = parse_part (parser);
  while (!parser->run->failed && chat_skip_name (parser, word)) {
    ChatNode *both = chat_node (parser, kind);
    if (!both)
      return NULL;
    both->a = chat_adopt (parser, both, node);
    both->b = chat_adopt (parser, both, parse_part (parser));
    node = both;
  }
  return node;
}

static ChatNode *
parse_and (ChatParser *parser)
{
  return parse_junction (parser, "and", CHAT_AND, parse_not);
}

static ChatNode *
parse_or (ChatParser *parser)
{
  return parse_junction (parser, "or", CHAT_OR, parse_and);
}

static ChatNode *
parse_choice (ChatParser *parser)
{
  ChatNode *node = parse_or (parser);
  while (!parser->run->failed && chat_skip_name (parser, "if")) {
    ChatNode *choice = chat_node (parser, CHAT_IF_ELSE);
    if (!choice)
      return NULL;
    choice->a = chat_adopt (parser, choice, node);
    choice->b = chat_adopt (parser, choice, parse_or (parser));
    if (chat_skip_name (parser, "else"))
      choice->c = chat_adopt (parser, choice, chat_parse_expression (parser));
    node = choice;
  }
  return node;
}

static ChatNode *
parse_nested (ChatParser *parser, ChatNode *(*parse) (ChatParser *parser))
{
  ChatNode *node = NULL;
  if (++parser->depth > CHAT_MAX_DEPTH)
    chat_fail (
        parser->run, VLM_ERROR_DATA, "expressions are nested too deeply.");
  if (!parser->run->failed)
    node = parse (parser);
  parser->depth--;
  return node;
}

ChatNode *
chat_parse_expression (ChatParser *parser)
{
  return parse_nested (parser, parse_choice);
}

static gboolean
at_tuple_end (const ChatParser *parser)
{
  return parser->at->kind == CHAT_BLOCK_END ||
         parser->at->kind == CHAT_OUTPUT_END || chat_at_operator (parser, ")");
}

ChatNode *
chat_parse_tuple (ChatParser *parser, gboolean without_if)
{
  ChatNode *(*parse) (ChatParser *) = without_if ? parse_or : parse_choice;
  ChatNode *first = parse_nested (parser, parse);
  if (parser->run->failed || !chat_at_operator (parser, ","))
    return first;
  ChatNode *list = chat_node (parser, CHAT_MAKE_LIST);
  if (!list)
    return NULL;
  ChatNode **tail = &list->args;
  for (ChatNode *item = first; item && !parser->run->failed;
       item = parse_nested (parser, parse)) {
    *tail = chat_adopt (parser, list, item);
    tail = &item->next;
    if (!chat_skip_operator (parser, ",") || at_tuple_end (parser))
      break;
  }
  return list;
}
