/* chat-template.c - rendered prompts against Jinja's
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * test-chat-template [FILE]: runs another file of goldens, such as
 * make-golden-templates.py makes with --random.
 */
#include <json-glib/json-glib.h>
#include <string.h>

#include "engine/chat-template.h"
#include "engine/error.h"

#define MAX_PARTS 8

typedef struct {
  VlmChat chat;
  VlmChatMessage messages[MAX_PARTS];
  VlmChatPart parts[MAX_PARTS][MAX_PARTS];
} Conversation;

/* From the list of messages that transformers takes; borrows its strings. */
static void
conversation_init (Conversation *c, JsonArray *messages, gboolean generation)
{
  c->chat = (VlmChat){ json_array_get_length (messages), c->messages,
    generation, "<s>", "</s>", NULL, NULL };
  g_assert_cmpint (c->chat.n_messages, <=, MAX_PARTS);
  for (int i = 0; i < c->chat.n_messages; i++) {
    JsonObject *message = json_array_get_object_element (messages, i);
    JsonArray *content = json_object_get_array_member (message, "content");
    c->messages[i] =
        (VlmChatMessage){ json_object_get_string_member (message, "role"),
          json_array_get_length (content), c->parts[i] };
    for (int j = 0; j < c->messages[i].n_parts; j++)
      c->parts[i][j].text = json_object_get_string_member_with_default (
          json_array_get_object_element (content, j), "text", NULL);
  }
}

static void
check (const char *name, const char *source, const VlmChat *chat,
    const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text =
      vlm_chat_template_render (source, "chat_template", chat, &error);
  g_assert_true (!text == !!error);
  if (g_strcmp0 (text, expected) == 0)
    return;
  g_autofree char *shown = g_strescape (source, NULL);
  g_printerr ("%s: \"%s\"\nexpected: <<<%s>>>\nfound: <<<%s>>> %s\n", name,
      shown, expected, text, error ? error->message : "");
  g_test_fail ();
}

static void
test_goldens (gconstpointer path)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  JsonObject *root = json_node_get_object (json_parser_get_root (parser));
  JsonArray *chats = json_object_get_array_member (root, "chats");
  JsonArray *templates = json_object_get_array_member (root, "templates");
  for (guint i = 0; i < json_array_get_length (templates); i++) {
    JsonArray *row = json_array_get_array_element (templates, i);
    JsonArray *texts = json_array_get_array_element (row, 2);
    for (guint j = 0; j < json_array_get_length (chats); j++) {
      Conversation c;
      conversation_init (
          &c, json_array_get_array_element (chats, j), j % 2 == 0);
      const char *expected = json_array_get_null_element (texts, j)
                                 ? NULL
                                 : json_array_get_string_element (texts, j);
      check (json_array_get_string_element (row, 0),
          json_array_get_string_element (row, 1), &c.chat, expected);
    }
  }
}

/* Templates that must fail, where and with which words. */
static const struct {
  const char *source;
  int code;
  const char *words;
} refused[] = {
  { "a\n{% macro m() %}{% endmacro %}", VLM_ERROR_WRONG_TYPE,
      "line 2: the tag \"macro\" is not implemented" },
  { "{% include 'x' %}", VLM_ERROR_WRONG_TYPE, "\"include\"" },
  { "{{ 'x' | tojson }}", VLM_ERROR_WRONG_TYPE, "the filter \"tojson\"" },
  { "\n\n{{ 'x' is sorted }}", VLM_ERROR_WRONG_TYPE,
      "line 3: the test \"sorted\"" },
  { "{{ 'x'.encode('a') }}", VLM_ERROR_WRONG_TYPE, "the method \"encode\"" },
  { "{{ strftime_now('%Y') }}", VLM_ERROR_WRONG_TYPE,
      "the function \"strftime_now\"" },
  { "{{ 1.5 }}", VLM_ERROR_WRONG_TYPE, "a number other than" },
  { "{{ 2 ** 3 }}", VLM_ERROR_WRONG_TYPE, "\"**\"" },
  { "{{ messages }}", VLM_ERROR_WRONG_TYPE, "writing a list" },
  { "{% for x in messages recursive %}{% endfor %}", VLM_ERROR_WRONG_TYPE,
      "recursive" },
  { "{{ raise_exception('no such role') }}", VLM_ERROR_REQUEST,
      "no such role" },
  { "{{ nothing.more }}", VLM_ERROR_DATA, "\"nothing\" is undefined" },
  { "{{ 'a' + 1 }}", VLM_ERROR_DATA, "between a text and a number" },
  { "{% if true %}", VLM_ERROR_DATA, "the template ends" },
  { "{% endfor %}", VLM_ERROR_DATA, "\"endfor\"" },
  { "{{ 'a }}", VLM_ERROR_DATA, "a string has no end" },
  { "{{ a b }}", VLM_ERROR_DATA, "\"b\" was found" },
  { "{# a", VLM_ERROR_DATA, "a comment has no end" },
  { "{% set r = range(9999) %}{% for i in r %}{% for j in r %}{% endfor %}"
    "{% endfor %}",
      VLM_ERROR_DATA, "runs too long" },
  { "{% set ns = namespace(s='ab') %}{% for i in range(99) %}"
    "{% set ns.s = ns.s + ns.s %}{% endfor %}",
      VLM_ERROR_DATA, "more than" },
};

static void
test_refused (void)
{
  const VlmChatPart part = { "Q" };
  const VlmChatMessage message = { "user", 1, &part };
  const VlmChat chat = { 1, &message, TRUE, "<s>", "</s>", NULL, NULL };
  for (gsize i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (vlm_chat_template_render (
        refused[i].source, "chat_template", &chat, &error));
    g_assert_error (error, VLM_ERROR, refused[i].code);
    if (!strstr (error->message, refused[i].words) ||
        !g_str_has_prefix (error->message, "chat_template: line "))
      g_error ("\"%s\" lacks %s", error->message, refused[i].words);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autofree char *goldens = g_test_build_filename (
      G_TEST_DIST, "golden-text", "templates.json", NULL);
  g_test_add_data_func_full ("/chat-template/goldens",
      g_strdup (argc > 1 ? argv[1] : goldens), test_goldens, g_free);
  g_test_add_func ("/chat-template/refused", test_refused);
  return g_test_run ();
}
