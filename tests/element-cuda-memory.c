/* element-cuda-memory.c - frames that are in GPU memory already
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * By gst-cuda's own allocators, on what calls itself the driver. The model must
 * answer what it does to the same frame in system memory.
 */
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include "gst/gsthiredvlm-cuda.h"
#include "gst/gstvlmmeta.h"
#include "tests/element-device-bed.h"

static GstCaps *
cuda_caps (const GstVideoInfo *info)
{
  GstCaps *caps = gst_video_info_to_caps (info);

  gst_caps_set_features_simple (
      caps, gst_caps_features_new (GST_CAPS_FEATURE_MEMORY_CUDA_MEMORY, NULL));
  return caps;
}

/* The context that the element offers. */
static GstCudaContext *
offered_context (GstHarness *h)
{
  GstQuery *query = gst_query_new_context (GST_CUDA_CONTEXT_TYPE);
  GstContext *context;
  GstCudaContext *cuda = NULL;

  fail_unless (gst_pad_peer_query (h->srcpad, query));
  gst_query_parse_context (query, &context);
  gst_structure_get (gst_context_get_structure (context), GST_CUDA_CONTEXT_TYPE,
      GST_TYPE_CUDA_CONTEXT, &cuda, NULL);
  gst_query_unref (query);
  fail_unless (cuda != NULL);
  return cuda;
}

static GstBufferPool *
pool_new (GstCudaContext *context, const GstVideoInfo *info, guint most)
{
  GstBufferPool *pool = gst_cuda_buffer_pool_new (context);
  GstStructure *config = gst_buffer_pool_get_config (pool);
  GstCaps *caps = cuda_caps (info);

  gst_buffer_pool_config_set_params (config, caps, info->size, 0, most);
  fail_unless (gst_buffer_pool_set_config (pool, config));
  fail_unless (gst_buffer_pool_set_active (pool, TRUE));
  gst_caps_unref (caps);
  return pool;
}

static void
pool_free (GstBufferPool *pool)
{
  gst_buffer_pool_set_active (pool, FALSE);
  gst_object_unref (pool);
}

/* A buffer of the pool with the frame's pixels, which are in GPU memory only;
 * a byte is added to them. */
static GstBuffer *
uploaded (GstBufferPool *pool, const GstVideoInfo *info, guint8 add)
{
  GstBuffer *from = frame_new (info), *to = NULL;
  GstVideoFrame src, dst;
  GstMapInfo map;

  fail_unless_equals_int (
      gst_buffer_pool_acquire_buffer (pool, &to, NULL), GST_FLOW_OK);
  gst_buffer_map (from, &map, GST_MAP_READWRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] += add;
  gst_buffer_unmap (from, &map);
  gst_video_frame_map (&src, (GstVideoInfo *) info, from, GST_MAP_READ);
  fail_unless (
      gst_video_frame_map (&dst, (GstVideoInfo *) info, to, GST_MAP_WRITE));
  fail_unless (gst_video_frame_copy (&dst, &src));
  gst_video_frame_unmap (&dst);
  gst_video_frame_unmap (&src);
  fail_unless (gst_memory_map (gst_buffer_peek_memory (to, 0), &map,
      (GstMapFlags) (GST_MAP_READ | GST_MAP_CUDA)));
  gst_memory_unmap (gst_buffer_peek_memory (to, 0), &map);
  GST_BUFFER_PTS (to) = 0;
  GST_BUFFER_DURATION (to) = GST_SECOND / 30;
  gst_buffer_unref (from);
  return to;
}

/* Pushes it in GPU memory of the context. */
static gchar *
answer_to_cuda (GstHarness *h, GstCudaContext *context,
    const GstVideoInfo *info, VlmMemory memory)
{
  GstBufferPool *pool = pool_new (context, info, 0);
  GstBuffer *buffer = uploaded (pool, info, 0);
  GstCudaContext *own = offered_context (h);
  gchar *text;

  fail_unless_equals_int (
      gst_hired_vlm_cuda_memory (GST_OBJECT (own), buffer), memory);
  gst_harness_set_src_caps (h, cuda_caps (info));
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  text = said (gst_vlm_buffer_get_caption (buffer));
  gst_buffer_unref (buffer);
  pool_free (pool);
  gst_object_unref (own);
  return text;
}

static const gchar *const formats[] = { "NV12", "P010_10LE", "I420", "RGBA" };

GST_START_TEST (frames_are_read_in_place)
{
  GstHarness *h = harness_new (device_name (), "");
  GstCudaContext *context = offered_context (h);

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstVideoInfo info = info_of (formats[i]);
    g_autofree gchar *want = answer (
        device_name (), gst_video_info_to_caps (&info), frame_new (&info));
    g_autofree gchar *got =
        answer_to_cuda (h, context, &info, VLM_MEMORY_DEVICE);

    fail_unless_equals_string (got, want);
  }
  gst_harness_teardown (h);
  gst_object_unref (context);
}
GST_END_TEST;

/* Of another context of the same GPU: copied within it. */
GST_START_TEST (foreign_frames_are_copied)
{
  GstVideoInfo info = info_of ("NV12");
  GstHarness *h = harness_new (device_name (), "");
  GstCudaContext *foreign = gst_cuda_context_new (0);
  g_autofree gchar *want = answer (
      device_name (), gst_video_info_to_caps (&info), frame_new (&info));
  g_autofree gchar *got =
      answer_to_cuda (h, foreign, &info, VLM_MEMORY_FOREIGN);

  fail_unless_equals_string (got, want);
  gst_harness_teardown (h);
  gst_object_unref (foreign);
}
GST_END_TEST;

/* What the GPU does not take, and whatever the processor gets, is downloaded,
 * as are the thumbnails that scenes are compared by. */
GST_START_TEST (other_frames_are_downloaded)
{
  GstVideoInfo info = info_of ("NV12");
  GstHarness *gpu = harness_new (device_name (), "scene-threshold=0.01");
  GstHarness *cpu = harness_new ("cpu", "");
  GstCudaContext *context = offered_context (gpu);
  GstBufferPool *pool = pool_new (context, &info, 0);
  g_autofree gchar *want =
      answer ("cpu", gst_video_info_to_caps (&info), frame_new (&info));
  g_autofree gchar *got = NULL, *interlaced = NULL;
  GstBuffer *buffer;

  gst_harness_set_src_caps (cpu, cuda_caps (&info));
  gst_harness_push (cpu, uploaded (pool, &info, 0));
  buffer = gst_harness_pull (cpu);
  got = said (gst_vlm_buffer_get_caption (buffer));
  fail_unless_equals_string (got, want);
  gst_buffer_unref (buffer);
  pool_free (pool);

  info.interlace_mode = GST_VIDEO_INTERLACE_MODE_INTERLEAVED;
  interlaced = answer_to_cuda (gpu, context, &info, VLM_MEMORY_DEVICE);
  gst_harness_teardown (cpu);
  gst_harness_teardown (gpu);
  gst_object_unref (context);
}
GST_END_TEST;

/* Of the next caption on the bus. */
static gchar *
next_said (GstBus *bus)
{
  GstMessage *message =
      gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND, GST_MESSAGE_ELEMENT);
  gchar *text;

  fail_unless (message != NULL);
  text = said (gst_vlm_message_get_caption (message));
  gst_message_unref (message);
  return text;
}

/* A buffer that is let go of may be written to: the pool has only this one,
 * and gives it away as soon as the element has read it. The first harness has
 * loaded the model that the second one shares. */
GST_START_TEST (buffers_are_released_when_read)
{
  GstVideoInfo info = info_of ("NV12");
  GstHarness *loaded = harness_new (device_name (), "");
  GstHarness *h = harness_new (device_name (), "mode=async reuse=0");
  GstElement *element = gst_harness_find_element (h, "hiredvlm");
  GstBus *bus = gst_bus_new ();
  GstCudaContext *context = offered_context (h);
  GstBufferPool *pool = pool_new (context, &info, 1);
  g_autofree gchar *want =
      answer_to_cuda (loaded, context, &info, VLM_MEMORY_DEVICE);

  gst_element_set_bus (element, bus);
  gst_harness_set_src_caps (h, cuda_caps (&info));
  for (guint i = 0; i < 3; i++) {
    g_autofree gchar *got = NULL;

    gst_harness_push (h, uploaded (pool, &info, 0));
    gst_buffer_unref (gst_harness_pull (h));
    gst_buffer_unref (uploaded (pool, &info, 99));
    got = next_said (bus);
    fail_unless_equals_string (got, want);
  }
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
  gst_harness_teardown (h);
  gst_harness_teardown (loaded);
  pool_free (pool);
  gst_object_unref (context);
}
GST_END_TEST;

/* Decoders are told, and their memory outlives the element. */
GST_START_TEST (context_is_offered)
{
  GstVideoInfo info = info_of ("I420");
  GstHarness *h = harness_new (device_name (), "");
  GstElement *element = gst_harness_find_element (h, "hiredvlm");
  GstBus *bus = gst_bus_new ();
  g_autoptr (GstMessage) message = NULL;
  GstContext *told = NULL;
  GstCudaContext *context;
  GstBufferPool *pool;
  GstBuffer *buffer;

  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, bus);
  gst_element_set_state (element, GST_STATE_READY);
  while (told == NULL) {
    gst_clear_message (&message);
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_HAVE_CONTEXT);
    fail_unless (message != NULL);
    gst_message_parse_have_context (message, &told);
    if (!gst_context_has_context_type (told, GST_CUDA_CONTEXT_TYPE))
      g_clear_pointer (&told, gst_context_unref);
  }
  context = offered_context (h);
  pool = pool_new (context, &info, 0);
  buffer = uploaded (pool, &info, 0);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_context_unref (told);
  gst_object_unref (bus);
  gst_object_unref (element);
  gst_harness_teardown (h);
  gst_object_unref (context);
  pool_free (pool);
  gst_buffer_unref (buffer);
}
GST_END_TEST;

static Suite *
element_cuda_memory_suite (void)
{
  Suite *s = suite_create ("element-cuda-memory");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 240);
  tcase_add_checked_fixture (tc, device_setup, device_teardown);
  tcase_add_test (tc, frames_are_read_in_place);
  tcase_add_test (tc, foreign_frames_are_copied);
  tcase_add_test (tc, other_frames_are_downloaded);
  tcase_add_test (tc, buffers_are_released_when_read);
  tcase_add_test (tc, context_is_offered);
  return s;
}

GST_CHECK_MAIN (element_cuda_memory);
