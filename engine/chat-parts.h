/* chat-parts.h - the parts of the template language, for chat-*.c alone
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   source -> chat-lexer.c -> tokens -> chat-parser.c -> nodes
 *          -> chat-eval.c over values (chat-value.c, chat-filters.c ...) ->
 * text
 *
 * Everything made on the way lives in one arena until the end. The first
 * failure is kept in the ChatRun, and whoever sees `failed` returns.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define CHAT_MAX_DEPTH 200           /* of nested constructs */
#define CHAT_MAX_BYTES (16 << 20)    /* of the arena, and of the output */
#define CHAT_MAX_STEPS (2 * 1000000) /* of evaluation */

/* One rendering. */
typedef struct {
  const char *file;
  int line; /* where we are, for messages */
  gboolean failed;
  GError *error;  /* set once failed */
  GSList *blocks; /* of the arena */
  char *free_at;  /* in the newest block */
  gsize free_bytes, used_bytes;
  gint64 steps;
} ChatRun;

void chat_run_clear (ChatRun *run);

/* Zeroed. When the arena is full the run fails and NULL comes back. */
gpointer chat_alloc (ChatRun *run, gsize bytes);

/* Counts the work of touching so many bytes; FALSE once the run failed. */
gboolean chat_step (ChatRun *run, gsize bytes);

/* "FILE: line N: MESSAGE". The first failure counts. */
void chat_fail (ChatRun *run, int code, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/* For constructs: "... WHAT is not implemented." */
void chat_refuse (ChatRun *run, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Values. */

typedef enum {
  CHAT_UNDEFINED,
  CHAT_NONE,
  CHAT_BOOLEAN,
  CHAT_INTEGER,
  CHAT_TEXT,
  CHAT_LIST,
  CHAT_MAP,
  CHAT_NAMESPACE, /* a map that templates may write to */
  CHAT_LOOP,
  CHAT_FUNCTION,
} ChatKind;

typedef struct ChatList ChatList;
typedef struct ChatMap ChatMap;
typedef struct ChatLoop ChatLoop;

typedef struct {
  gsize length;
  char *bytes; /* a NUL follows */
} ChatText;

typedef struct {
  ChatKind kind;
  union {
    gint64 integer; /* BOOLEAN, INTEGER, FUNCTION (ChatFunction) */
    ChatText *text;
    ChatList *list;
    ChatMap *map; /* MAP, NAMESPACE */
    ChatLoop *loop;
    const char *name; /* UNDEFINED: what is, or NULL */
  };
} ChatValue;

struct ChatList {
  guint n;
  ChatValue *items;
};

typedef struct {
  ChatText *key;
  ChatValue value;
} ChatPair;

struct ChatMap {
  guint n, room;
  ChatPair *pairs; /* in order of insertion */
};

struct ChatLoop {
  const ChatList *list;
  guint index; /* from 0 */
};

typedef enum {
  CHAT_RAISE_EXCEPTION,
  CHAT_MAKE_NAMESPACE,
  CHAT_MAKE_DICT,
  CHAT_RANGE,
} ChatFunction;

ChatValue chat_undefined (const char *name);
ChatValue chat_none (void);
ChatValue chat_boolean (gboolean b);
ChatValue chat_integer (gint64 i);
ChatValue chat_function (ChatFunction function);
/* A text to be written into; undefined when the arena is full. */
ChatValue chat_text_room (ChatRun *run, gsize length);
/* Copies. */
ChatValue chat_text (ChatRun *run, const char *bytes, gsize length);
ChatValue chat_string (ChatRun *run, const char *string);
/* Room for n items, undefined at first. */
ChatValue chat_list (ChatRun *run, guint n);
ChatValue chat_map (ChatRun *run);
/* Adds or replaces. */
void chat_map_set (ChatRun *run, ChatMap *map, ChatText *key, ChatValue value);
/* NULL if there is none. */
ChatValue *chat_map_get (
    ChatRun *run, const ChatMap *map, const char *key, gsize length);

/* "a list", "a number" ... */
const char *chat_kind_name (ChatKind kind);

gboolean chat_is_true (const ChatValue *value);
gboolean chat_equal (ChatRun *run, const ChatValue *a, const ChatValue *b);
/* Below, equal or above 0; fails unless both are numbers or both texts. */
int chat_compare (ChatRun *run, const ChatValue *a, const ChatValue *b);
gboolean chat_contains (
    ChatRun *run, const ChatValue *whole, const ChatValue *part);

/* a OP b, for every operator but "and" and "or". */
ChatValue chat_combine (
    ChatRun *run, const char *op, const ChatValue *a, const ChatValue *b);

/* As output writes it; lists and maps are refused. */
ChatText *chat_to_text (ChatRun *run, const ChatValue *value);
/* The text itself; fails for any other kind, naming `what` wanted it. */
ChatText *chat_want_text (
    ChatRun *run, const ChatValue *value, const char *what);
/* What a for loop or a filter sees: the items of a list, the keys of a map,
 * the characters of a text, nothing of an undefined value. */
ChatList *chat_items (ChatRun *run, const ChatValue *value);
/* value.name, value[item]; undefined if there is none. */
ChatValue chat_attribute (
    ChatRun *run, const ChatValue *value, const char *name);
ChatValue chat_item (
    ChatRun *run, const ChatValue *value, const ChatValue *item);

/* Where part begins in text, at byte `from` or later; -1: nowhere. */
gssize chat_find (
    ChatRun *run, const ChatText *text, gsize from, const ChatText *part);

gint64 chat_n_characters (const ChatText *text);
/* White space as Python sees it. */
gboolean chat_is_space (gunichar c);

/* Tokens. */

typedef enum {
  CHAT_END,
  CHAT_DATA,        /* text between tags */
  CHAT_BLOCK_BEGIN, /* {% */
  CHAT_BLOCK_END,
  CHAT_OUTPUT_BEGIN, /* {{ */
  CHAT_OUTPUT_END,
  CHAT_NAME,
  CHAT_STRING,
  CHAT_NUMBER,
  CHAT_OPERATOR, /* in text: "+", "==" ... */
} ChatTokenKind;

typedef struct {
  ChatTokenKind kind;
  int line;
  ChatText *text;
  gint64 integer;
} ChatToken;

/* An array of ChatToken that ends with CHAT_END. */
GArray *chat_lex (ChatRun *run, const char *source);

/* Nodes. */

typedef enum {
  /* expressions */
  CHAT_LITERAL,   /* value */
  CHAT_VARIABLE,  /* name */
  CHAT_ATTRIBUTE, /* a.name */
  CHAT_ITEM,      /* a[b] */
  CHAT_SLICE,     /* a[b:c:d], parts may be NULL */
  CHAT_CALL,      /* a(args) */
  CHAT_FILTER,    /* a|name(args) */
  CHAT_TEST,      /* a is name(args) */
  CHAT_NOT,
  CHAT_NEGATE,
  CHAT_PLUS,
  CHAT_AND,
  CHAT_OR,
  CHAT_IF_ELSE, /* a if b else c; c may be NULL */
  CHAT_BINARY,  /* a OP b: name is the operator */
  CHAT_MAKE_LIST,
  CHAT_MAKE_MAP, /* args: key, value, key, value ... */
  CHAT_ARGUMENT, /* a, in a list of args */
  /* statements */
  CHAT_WRITE_DATA,
  CHAT_WRITE,    /* a */
  CHAT_IF,       /* if a: body, else: other (elif: an IF in other) */
  CHAT_FOR,      /* for args in a if b: body, else: other */
  CHAT_SET,      /* args = a */
  CHAT_SET_PART, /* b.name = a */
  CHAT_SET_BODY, /* args[0] = body as text */
  CHAT_SCOPE,    /* body, with variables of its own */
  CHAT_BREAK,
  CHAT_CONTINUE,
} ChatNodeKind;

typedef struct ChatNode ChatNode;

struct ChatNode {
  ChatNodeKind kind;
  int line;
  guint depth; /* of the expression below */
  const char *name;
  ChatValue value; /* LITERAL; of a name that is set: the name */
  ChatNode *a, *b, *c, *d;
  ChatNode *args;         /* chained by next; ARGUMENT: name if given */
  ChatNode *body, *other; /* statements, chained by next */
  ChatNode *next;
};

/* A statement list, or NULL when empty or failed. */
ChatNode *chat_parse (ChatRun *run, const GArray *tokens);

/* The parser's own: where it is, and its two halves. */
typedef struct {
  ChatRun *run;
  const ChatToken *at;
  guint depth, loops;
} ChatParser;

ChatNode *chat_node (ChatParser *parser, ChatNodeKind kind);
/* Notes that below belongs to node; fails when that is too deep. */
ChatNode *chat_adopt (ChatParser *parser, ChatNode *node, ChatNode *below);
gboolean chat_at_operator (const ChatParser *parser, const char *op);
gboolean chat_at_name (const ChatParser *parser, const char *name);
/* Passes over an operator or name if it is there. */
gboolean chat_skip_operator (ChatParser *parser, const char *op);
gboolean chat_skip_name (ChatParser *parser, const char *name);
void chat_expect_operator (ChatParser *parser, const char *op);
const char *chat_expect_name (ChatParser *parser);
void chat_unexpected (ChatParser *parser, const char *expected);
/* An expression; commas make a list of it. without_if leaves "if" alone. */
ChatNode *chat_parse_expression (ChatParser *parser);
ChatNode *chat_parse_tuple (ChatParser *parser, gboolean without_if);

/* Functions. */

typedef struct {
  guint n, n_named;
  ChatValue *values;  /* [n] by position, then [n_named] */
  const char **names; /* [n_named] */
} ChatArgs;

/* The argument at a position (-1: none) or of a name (NULL: none). */
const ChatValue *chat_arg (
    const ChatArgs *args, int position, const char *name);

/* value | name (args), value is name (args); unknown names are refused. */
ChatValue chat_filter_run (ChatRun *run, const char *name,
    const ChatValue *value, const ChatArgs *args);
gboolean chat_test_run (ChatRun *run, const char *name, const ChatValue *value,
    const ChatArgs *args);

/* value.name (args) */
ChatValue chat_method_run (ChatRun *run, const ChatValue *value,
    const char *name, const ChatArgs *args);
ChatValue chat_function_run (
    ChatRun *run, ChatFunction function, const ChatArgs *args);

/* Text functions that filters and methods share. */
ChatValue chat_strip (ChatRun *run, const ChatText *text,
    const ChatValue *characters, gboolean left, gboolean right);
ChatValue chat_replace (ChatRun *run, const ChatText *text,
    const ChatText *from, const ChatText *to, gint64 limit);
ChatValue chat_join (
    ChatRun *run, const ChatList *list, const ChatText *between);
typedef enum {
  CHAT_UPPER,
  CHAT_LOWER,
  CHAT_TITLE_METHOD, /* a capital after anything but a letter */
  CHAT_TITLE_FILTER, /* a capital after a space, hyphen or bracket */
  CHAT_CAPITALIZE,
} ChatCase;
ChatValue chat_change_case (ChatRun *run, const ChatText *text, ChatCase how);

/* Evaluation: appends what the statements write. */
void chat_evaluate (
    ChatRun *run, const ChatNode *program, ChatMap *variables, GString *out);

G_END_DECLS
