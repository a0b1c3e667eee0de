/* texts.c - what people read is translated, what programs read is not
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   TEXTS_CATALOGS=FOLDER LANGUAGE=de test-texts
 *
 * In German, or in English under any other LANGUAGE. Skipped where there are no
 * catalogs or no locale of UTF-8.
 */
#include <gst/gst.h>
#include <libintl.h>
#include <locale.h>

#include "engine/error.h"
#include "engine/json.h"
#include "gst/gsthiredvlm.h"

static gboolean german;

static void
assert_says (const char *message, const char *in_german, const char *in_english)
{
  g_assert_cmpstr (message, ==, german ? in_german : in_english);
}

static void
assert_field (
    const GstStructure *details, const char *field, const char *expected)
{
  g_assert_cmpstr (gst_structure_get_string (details, field), ==, expected);
}

static void
test_missing_folder (void)
{
  const char *in_german = "/no/such/model: Erwartet wurde ein Modellordner, "
                          "aber nichts dergleichen ist da.";
  const char *in_english =
      "/no/such/model: a model folder was expected, but there is none.";
  g_autoptr (GstElement) element =
      gst_object_ref_sink (gst_element_factory_make_full (
          "hiredvlm", "model-path", "/no/such/model", "device", "cpu", NULL));
  g_autoptr (GstBus) bus = gst_bus_new ();
  g_autoptr (GstMessage) message = NULL;
  g_autoptr (GError) error = NULL;
  const GstStructure *details;

  gst_element_set_bus (element, bus);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==,
      GST_STATE_CHANGE_FAILURE);
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  gst_message_parse_error (message, &error, NULL);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND);
  assert_says (error->message, in_german, in_english);
  gst_message_parse_error_details (message, &details);
  assert_field (details, "cause", "not-found");
  assert_field (details, "message", german ? in_german : in_english);
  assert_field (details, "file", "/no/such/model");
  assert_field (details, "expected", "a model folder");
  assert_field (details, "found", "there is none");
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
}

/* A phrase with numbers in it. */
static void
test_number (void)
{
  const char *text = "{\"n\":7}";
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) node =
      vlm_json_parse (text, strlen (text), "f.json", FALSE, &error);
  VlmJson json = vlm_json_root (node, "f.json");
  int n = 0;

  g_assert_no_error (error);
  g_assert_false (vlm_json_get_int (&json, "n", 1, 5, &n, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_DATA);
  assert_says (error->message,
      "f.json: n ist 7, erwartet wurde aber eine ganze Zahl von 1 bis 5.",
      "f.json: n is 7, but a whole number from 1 to 5 was expected.");
  g_assert_cmpstr (
      vlm_error_details (error)->expected, ==, "a whole number from 1 to 5");
}

/* Sizes, which catalogs spell by the name of their type. */
static void
test_size (void)
{
  g_autoptr (GError) error = NULL;

  vlm_fail (&error, VLM_ERROR_NO_MEMORY, NULL,
      "%s does not fit on %s: %" G_GUINT64_FORMAT
      " bytes are needed for one sequence of %d tokens, %" G_GUINT64_FORMAT
      " are free.",
      "m", "cpu", (guint64) 6000000000, 5, (guint64) 4);
  assert_says (error->message,
      "m passt nicht auf cpu: 6000000000 Bytes sind für eine Folge von 5 "
      "Token nötig, 4 sind frei.",
      "m does not fit on cpu: 6000000000 bytes are needed for one sequence of "
      "5 tokens, 4 are free.");
}

static void
test_unknown (void)
{
  g_assert_cmpstr (vlm_text (""), ==, "");
  g_assert_null (vlm_text (NULL));
  g_assert_cmpstr (vlm_text ("no catalog has this"), ==, "no catalog has this");
}

int
main (int argc, char **argv)
{
  const char *catalogs = g_getenv ("TEXTS_CATALOGS");

  g_test_init (&argc, &argv, NULL);
  gst_init (&argc, &argv);
  if (!catalogs || !setlocale (LC_ALL, "C.UTF-8"))
    return 77;
  german = g_strcmp0 (g_getenv ("LANGUAGE"), "de") == 0;
  bindtextdomain (GETTEXT_PACKAGE, catalogs);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  g_test_add_func ("/texts/missing-folder", test_missing_folder);
  g_test_add_func ("/texts/number", test_number);
  g_test_add_func ("/texts/size", test_size);
  g_test_add_func ("/texts/unknown", test_unknown);
  return g_test_run ();
}
