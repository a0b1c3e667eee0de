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

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autofree char *goldens = g_test_build_filename (
      G_TEST_DIST, "golden-text", "templates.json", NULL);
  g_test_add_data_func_full ("/chat-template/goldens",
      g_strdup (argc > 1 ? argv[1] : goldens), test_goldens, g_free);
  return g_test_run ();
}
