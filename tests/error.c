/* error.c - what an error is about goes where the error goes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/error.h"

static const VlmErrorDetails full = { .file = "m/config.json",
  .tensor = "lm_head.weight",
  .key = "text_config.head_dim",
  .setting = "token-budget",
  .expected = "4",
  .found = "5",
  .needed_bytes = G_MAXUINT64,
  .free_bytes = 1 };

static void
assert_full (const GError *error)
{
  const VlmErrorDetails *about = vlm_error_details (error);

  g_assert_cmpstr (about->file, ==, full.file);
  g_assert_cmpstr (about->tensor, ==, full.tensor);
  g_assert_cmpstr (about->key, ==, full.key);
  g_assert_cmpstr (about->setting, ==, full.setting);
  g_assert_cmpstr (about->expected, ==, full.expected);
  g_assert_cmpstr (about->found, ==, full.found);
  g_assert_cmpuint (about->needed_bytes, ==, full.needed_bytes);
  g_assert_cmpuint (about->free_bytes, ==, full.free_bytes);
}

/* Copied, handed on, with words in front; the first one is gone by then. */
static void
test_travels (void)
{
  g_autoptr (GError) error = NULL, copy = NULL, last = NULL;

  g_assert_false (vlm_fail (
      &error, VLM_ERROR_DATA, &full, "%d is not %s.", 5, "what was expected"));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_DATA);
  g_assert_cmpstr (error->message, ==, "5 is not what was expected.");
  assert_full (error);
  copy = g_error_copy (error);
  g_clear_error (&error);
  assert_full (copy);
  g_propagate_prefixed_error (&last, g_steal_pointer (&copy), "Layer %d: ", 3);
  g_prefix_error (&last, "Loading: ");
  g_assert_cmpstr (
      last->message, ==, "Loading: Layer 3: 5 is not what was expected.");
  assert_full (last);
}

static void
assert_empty (const GError *error)
{
  const VlmErrorDetails *about = vlm_error_details (error);

  g_assert_nonnull (about);
  g_assert_true (!about->file && !about->tensor && !about->key);
  g_assert_true (!about->setting && !about->expected && !about->found);
  g_assert_true (!about->needed_bytes && !about->free_bytes);
}

/* Errors that say nothing about anything, and those of others. */
static void
test_nothing (void)
{
  g_autoptr (GError) none = NULL, plain = NULL, foreign = NULL;

  vlm_fail (&none, VLM_ERROR_LOST, NULL, "It is gone.");
  assert_empty (none);
  g_set_error (&plain, VLM_ERROR, VLM_ERROR_REQUEST, "Too long.");
  assert_empty (plain);
  g_set_error (&foreign, G_FILE_ERROR, G_FILE_ERROR_IO, "Elsewhere.");
  g_assert_null (vlm_error_details (foreign));
  g_assert_false (vlm_fail (NULL, VLM_ERROR_DATA, &full, "Nobody listens."));
}

static void
test_sentence (void)
{
  g_autoptr (GError) error = NULL;
  const VlmErrorDetails *about;

  g_assert_false (vlm_fail_expected (
      &error, VLM_ERROR_NOT_FOUND, "m/a.json", "a file", "there is none"));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_NOT_FOUND);
  g_assert_cmpstr (
      error->message, ==, "m/a.json: a file was expected, but there is none.");
  about = vlm_error_details (error);
  g_assert_cmpstr (about->file, ==, "m/a.json");
  g_assert_cmpstr (about->expected, ==, "a file");
  g_assert_cmpstr (about->found, ==, "there is none");
  g_assert_null (about->key);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/error/travels", test_travels);
  g_test_add_func ("/error/nothing", test_nothing);
  g_test_add_func ("/error/sentence", test_sentence);
  return g_test_run ();
}
