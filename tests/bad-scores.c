/* bad-scores.c - requests that meet a score that is not a number
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   ENGINE_DEVICE=cuda test-bad-scores   on another device
 *
 * The folder's encoder overflows where a patch's first pixel is much brighter
 * than its second. Such a request ends with a sentence and without text; what
 * the stream asks next is answered as ever, though it remembers pictures.
 */
#include <string.h>
#include "engine/engine.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define SIDE 56 /* four tiles and the whole picture */

static const char *on_device = "cpu";

typedef enum {
  SOUND,     /* of one grey */
  BAD_TILE,  /* one bright pixel, too small for the whole picture's tile */
  BAD_WHOLE, /* one in each patch, that tile's too */
} Picture;

typedef struct {
  const char *policy;
  guint8 pixels[SIDE * SIDE * 3];
  int texts, done;
  char *text; /* owned, as is the error */
  GError *error;
} Ask;

/* The whole picture's tile has pixels twice as wide and patches of 7. */
static void
paint (guint8 *pixels, Picture picture)
{
  int apart = picture == BAD_WHOLE ? 14 : SIDE;
  int size = picture == BAD_WHOLE ? 2 : 1;

  memset (pixels, 128, SIDE * SIDE * 3);
  for (int y = 0; y < SIDE && picture != SOUND; y++)
    for (int x = 0; x < SIDE; x++)
      if (y % apart < size && x % apart < size)
        memset (pixels + (y * SIDE + x) * 3, 255, 3);
}

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  Ask *ask = user_data;

  vlm_settings_set_policy (&task->settings, vlm_policy_find (ask->policy));
  task->settings.token_budget = 0.5;
  task->settings.max_tokens = 8;
  task->picture = (VlmPicture){ ask->pixels, SIDE, SIDE, SIDE * 3, 1, 1 };
  return TRUE;
}

static void
on_text (const VlmResult *so_far, gpointer user_data)
{
  Ask *ask = user_data;

  ask->texts++;
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Ask *ask = user_data;

  ask->done++;
  if (error)
    ask->error = g_error_copy (error);
  else
    ask->text = g_strdup (result->text);
}

static const VlmRequestFuncs funcs = { on_fetch, NULL, on_text, on_done };

static void
run (VlmStream *stream, Ask *ask, const char *policy, Picture picture)
{
  memset (ask, 0, sizeof *ask);
  ask->policy = policy;
  paint (ask->pixels, picture);
  vlm_stream_submit (stream, &funcs, ask);
  vlm_stream_drain (stream);
  g_assert_cmpint (ask->done, ==, 1);
}

static void
ask_clear (Ask *ask)
{
  g_free (ask->text);
  g_clear_error (&ask->error);
}

/* A score, or a sum of scores. */
static gboolean
names_what_it_found (const char *message)
{
  return strstr (message, " is not a number.") || strstr (message, " nan, ");
}

static void
expect_refusal (VlmStream *stream, const char *policy, Picture picture)
{
  Ask ask;

  run (stream, &ask, policy, picture);
  g_assert_error (ask.error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_test_message ("%s: %s", policy, ask.error->message);
  g_assert_true (names_what_it_found (ask.error->message));
  g_assert_cmpint (ask.texts, ==, 0);
  ask_clear (&ask);
}

static char *
expect_text (VlmStream *stream, const char *policy)
{
  Ask ask;

  run (stream, &ask, policy, SOUND);
  g_assert_no_error (ask.error);
  g_assert_nonnull (ask.text);
  return ask.text;
}

static gboolean
reads_scores (const VlmPolicy *policy)
{
  return policy->plan_taps || policy->select_taps;
}

/* A text, the refusals, and the text again, of one stream. */
static void
test_policy (gconstpointer data)
{
  const VlmPolicy *policy = data;
  g_autofree char *before = NULL, *after = NULL;
  char *folder = folder_new ();
  VlmOpenOptions options = {
    .path = folder, .device = on_device, .threads = 1
  };
  g_autoptr (GError) error = NULL;

  tiny_model_write (folder, &(TinyModel){ .seed = 1, .overflows = TRUE });
  g_autoptr (VlmEngine) engine = vlm_engine_open (&options, &error);
  g_assert_no_error (error);
  g_autoptr (VlmStream) stream = vlm_stream_new (engine);

  before = expect_text (stream, policy->name);
  expect_refusal (stream, policy->name, BAD_TILE);
  expect_refusal (stream, policy->name, BAD_WHOLE);
  after = expect_text (stream, policy->name);
  g_assert_cmpstr (before, ==, after);
  folder_remove (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (g_getenv ("ENGINE_DEVICE"))
    on_device = g_getenv ("ENGINE_DEVICE");
  for (int i = 0; vlm_policies[i]; i++) {
    g_autofree char *path =
        g_strdup_printf ("/bad-scores/%s", vlm_policies[i]->name);

    if (reads_scores (vlm_policies[i]))
      g_test_add_data_func (path, vlm_policies[i], test_policy);
  }
  return g_test_run ();
}
