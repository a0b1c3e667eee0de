/* describe.c - hiredvlm-describe as a person calls it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs the program over a tiny random model: what it prints, its exit status,
 * its one sentence on errors. Paths come from the environment: DESCRIBE is
 * the program, SAMPLE a short video.
 */
#include <cairo.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include "tests/folder.h"
#include "tests/tiny-model.h"

static char *folder, *picture;

typedef struct {
  char *out, *err;
  int status;
} Run;

static void
run_clear (Run *run)
{
  g_free (run->out);
  g_free (run->err);
}

/* Arguments after the program's name, ended by NULL. */
static Run
describe (const char *first, ...)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  Run run = { NULL, NULL, -1 };
  va_list args;
  g_ptr_array_add (argv, (char *) g_getenv ("DESCRIBE"));
  va_start (args, first);
  for (const char *arg = first; arg; arg = va_arg (args, const char *))
    g_ptr_array_add (argv, (char *) arg);
  va_end (args);
  g_ptr_array_add (argv, NULL);
  int status;
  g_spawn_sync (NULL, (char **) argv->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL,
      &run.out, &run.err, &status, &error);
  g_assert_no_error (error);
  run.status = g_spawn_check_wait_status (status, &error)
                   ? 0
                   : (error->domain == G_SPAWN_EXIT_ERROR ? error->code : -1);
  return run;
}

static int
count_lines (const char *text)
{
  int n = 0;
  for (; *text; text++)
    n += *text == '\n';
  return n;
}

static JsonObject *
parse (JsonParser *parser, const char *line)
{
  g_autoptr (GError) error = NULL;
  json_parser_load_from_data (parser, line, -1, &error);
  g_assert_no_error (error);
  return json_node_get_object (json_parser_get_root (parser));
}

static void
test_picture (void)
{
  Run run = describe ("-m", folder, "--max-tokens", "6", picture, NULL);
  g_assert_cmpstr (run.err, ==, "");
  g_assert_cmpint (run.status, ==, 0);
  g_assert_cmpint (count_lines (run.out), ==, 1);
  run_clear (&run);

  /* Of several, each line says whose it is. */
  run = describe ("-m", folder, "--max-tokens", "6", picture, picture, NULL);
  g_assert_cmpint (run.status, ==, 0);
  g_assert_cmpint (count_lines (run.out), ==, 2);
  g_assert_true (g_str_has_prefix (run.out, picture));
  run_clear (&run);
}

/* Parameters arrive: the reference mode does not ask for the budget. */
static void
test_policy_params (void)
{
  Run run = describe ("-m", folder, "--policy", "visionzip", "--set",
      "policy-params=p,reference=true,dominant=3,contextual=2", "--json",
      "--detail", "--max-tokens", "2", "--token-budget", "0.9", picture, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_assert_cmpstr (run.err, ==, "");
  JsonObject *o = parse (parser, run.out);
  JsonArray *tiles = json_object_get_array_member (o, "tile-budgets");
  g_assert_cmpint (json_array_get_length (tiles), >, 0);
  for (guint i = 0; i < json_array_get_length (tiles); i++)
    g_assert_cmpint (json_array_get_int_element (tiles, i), ==, 5);
  g_assert_cmpint (json_object_get_int_member (o, "image-tokens-kept"), ==,
      5 * json_array_get_length (tiles));
  run_clear (&run);
}

static void
test_json (void)
{
  Run run = describe ("-m", folder, "-p", "what?", "--policy", "all", "--json",
      "--detail", "--max-tokens", "5", picture, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_assert_cmpstr (run.err, ==, "");
  g_assert_cmpint (run.status, ==, 0);
  g_assert_cmpint (count_lines (run.out), ==, 1);
  JsonObject *o = parse (parser, run.out);
  g_assert_cmpstr (json_object_get_string_member (o, "rendered-prompt"), ==,
      "USER: <image> what? ASSISTANT:");
  JsonArray *ids = json_object_get_array_member (o, "prompt-ids");
  int n_images = 0;
  for (guint i = 0; i < json_array_get_length (ids); i++)
    n_images += json_array_get_int_element (ids, i) == 289;
  g_assert_cmpint (n_images, ==, 1);
  gint64 kept = json_object_get_int_member (o, "image-tokens-kept");
  g_assert_cmpint (kept, ==, json_object_get_int_member (o, "image-tokens"));
  g_assert_cmpint (json_object_get_int_member (o, "prompt-tokens"), ==,
      json_array_get_length (ids) - 1 + kept);
  JsonArray *tokens = json_object_get_array_member (o, "token-ids");
  g_assert_cmpint (json_array_get_length (tokens), ==,
      json_object_get_int_member (o, "tokens"));
  JsonArray *grid = json_object_get_array_member (o, "grid");
  JsonArray *budgets = json_object_get_array_member (o, "tile-budgets");
  g_assert_cmpint (json_array_get_length (budgets), ==,
      1 + json_array_get_int_element (grid, 0) *
              json_array_get_int_element (grid, 1));
  g_assert_true (json_object_has_member (o, "kept-ids"));
  run_clear (&run);

  /* Without --detail none of these. */
  run = describe ("-m", folder, "--json", "--max-tokens", "5", picture, NULL);
  o = parse (parser, run.out);
  g_assert_true (json_object_has_member (o, "text"));
  g_assert_false (json_object_has_member (o, "prompt-ids"));
  g_assert_false (json_object_has_member (o, "kept-ids"));
  run_clear (&run);
}

static void
test_video (void)
{
  Run run = describe ("-m", folder, "--max-tokens", "2", "--interval", "5",
      g_getenv ("SAMPLE"), NULL);
  g_assert_cmpstr (run.err, ==, "");
  g_assert_cmpint (run.status, ==, 0);
  g_assert_true (g_str_has_prefix (run.out, "0:00:00.0  "));
  g_assert_nonnull (strstr (run.out, "\n0:00:05.0  "));
  run_clear (&run);
}

/* Two of the same picture, so that the second finds what the first left. */
static void
test_reuse (void)
{
  Run all =
      describe ("-m", folder, "--max-tokens", "6", picture, picture, NULL);
  static const char *const less[] = { "reuse=0", "reuse=tiles+draft" };
  for (guint i = 0; i < G_N_ELEMENTS (less); i++) {
    Run run = describe ("-m", folder, "--max-tokens", "6", "--set", less[i],
        picture, picture, NULL);
    g_assert_cmpint (run.status, ==, 0);
    g_assert_cmpstr (run.out, ==, all.out);
    run_clear (&run);
  }
  run_clear (&all);
}

/* Describes by a policy, or several, into a PNG; returns its size. */
static void
drawn_size (const char *policy, int *width, int *height)
{
  g_autofree char *file = g_build_filename (folder, "kept.png", NULL);
  Run run = describe ("-m", folder, "--max-tokens", "2", "--policy", policy,
      "--picture", file, picture, NULL);
  g_assert_cmpstr (run.err, ==, "");
  g_assert_cmpint (run.status, ==, 0);
  cairo_surface_t *page = cairo_image_surface_create_from_png (file);
  g_assert_cmpint (cairo_surface_status (page), ==, CAIRO_STATUS_SUCCESS);
  *width = cairo_image_surface_get_width (page);
  *height = cairo_image_surface_get_height (page);
  cairo_surface_destroy (page);
  run_clear (&run);
}

static void
test_drawing (void)
{
  int one[2], four[2], six[2];
  drawn_size ("hired", &one[0], &one[1]);
  g_assert_cmpint (one[0], >, 500);
  drawn_size ("hired,all,uniform,random", &four[0], &four[1]);
  drawn_size ("hired,all,uniform,random,hired,all", &six[0], &six[1]);
  g_assert_cmpint (six[0] * six[1], ==, four[0] * four[1] / 4 * 6);
}

static void
test_policies (void)
{
  Run run = describe ("-m", folder, "--max-tokens", "2", "--policy",
      "uniform,all", picture, NULL);
  g_assert_cmpint (run.status, ==, 0);
  g_assert_cmpint (count_lines (run.out), ==, 2);
  g_assert_true (g_str_has_prefix (run.out, "uniform: "));
  g_assert_nonnull (strstr (run.out, "\nall: "));
  run_clear (&run);
}

/* Exit status 1 and one sentence that has `words` in it. */
static void
expect_failure (Run run, const char *words)
{
  g_assert_cmpint (run.status, ==, 1);
  g_assert_cmpint (count_lines (run.err), ==, 1);
  g_assert_true (g_str_has_prefix (run.err, "hiredvlm-describe: "));
  if (!strstr (run.err, words))
    g_error ("\"%s\" was expected in: %s", words, run.err);
  run_clear (&run);
}

static void
test_errors (void)
{
  expect_failure (describe (NULL), "No file");
  expect_failure (describe ("-m", folder, "/no/such/file", NULL), "no/such");
  expect_failure (describe ("-m", "/no/model", picture, NULL), "/no/model");
  expect_failure (
      describe ("-m", folder, "--policy", "x", picture, NULL), "hired");
  expect_failure (
      describe ("-m", folder, "--token-budget", "x", picture, NULL), "budget");
  expect_failure (describe ("-m", folder, "--set", "a=b", picture, NULL), "a");
  expect_failure (
      describe ("-m", folder, "--token-budget", "-1", picture, NULL),
      "\"-1\": a number from 0 to ");
  expect_failure (
      describe ("-m", folder, "--set", "draw-tokens=7", picture, NULL),
      "true or false was expected");
  expect_failure (
      describe ("-m", folder, "--set", "policy-params=7", picture, NULL),
      "The property policy-params cannot be \"7\": a GstStructure was "
      "expected.");
  expect_failure (
      describe ("-m", folder, "--set", "interval=-4", picture, NULL),
      "The property interval cannot be \"-4\": a number from 0 to");
  expect_failure (describe ("-m", folder, "--set", "reuse=x", picture, NULL),
      "joined by +, of ");
  expect_failure (describe ("-m", folder, "--policy", "prumerge", "--set",
                      "policy-params=p,neighbours=1000", picture, NULL),
      "neighbours of policy prumerge is 1000, expected 0 to 256");
  expect_failure (describe ("-m", folder, "--policy", "random", "--set",
                      "policy-params=p,alpha=0.5", picture, NULL),
      "random has no parameter alpha");
  expect_failure (
      describe ("-m", folder, "-p", "a <image>", picture, NULL), "<image>");
  g_autofree char *text = g_build_filename (folder, "config.json", NULL);
  expect_failure (describe ("-m", folder, text, NULL), "config.json");
}

static char *
paint_picture (void)
{
  char *file = g_build_filename (folder, "picture.png", NULL);
  cairo_surface_t *page =
      cairo_image_surface_create (CAIRO_FORMAT_RGB24, 120, 90);
  cairo_t *cr = cairo_create (page);
  cairo_set_source_rgb (cr, 0.9, 0.3, 0.2);
  cairo_rectangle (cr, 20, 10, 40, 50);
  cairo_fill (cr);
  cairo_destroy (cr);
  g_assert_cmpint (
      cairo_surface_write_to_png (page, file), ==, CAIRO_STATUS_SUCCESS);
  cairo_surface_destroy (page);
  return file;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  folder = folder_new ();
  tiny_model_write (folder, NULL);
  picture = paint_picture ();
  g_test_add_func ("/describe/picture", test_picture);
  g_test_add_func ("/describe/policies", test_policies);
  g_test_add_func ("/describe/reuse", test_reuse);
  g_test_add_func ("/describe/json", test_json);
  g_test_add_func ("/describe/video", test_video);
  g_test_add_func ("/describe/drawing", test_drawing);
  g_test_add_func ("/describe/policy-params", test_policy_params);
  g_test_add_func ("/describe/errors", test_errors);
  int status = g_test_run ();
  folder_remove (folder);
  g_free (picture);
  return status;
}
