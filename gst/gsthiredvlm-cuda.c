/* gsthiredvlm-cuda.c - frames in GPU memory, by gst-cuda
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-cuda.h"

#include <dlfcn.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <string.h>
#include "gst/gsthiredvlm-planes.h"

#define DRIVER "libcuda.so.1"
#define PRIMARY "hiredvlm-primary"

GstCaps *
gst_hired_vlm_cuda_caps (void)
{
  guint n;
  const GstVideoFormat *formats = gst_hired_vlm_planes_formats (&n);

  return gst_video_make_raw_caps_with_features (formats, n,
      gst_caps_features_new (GST_CAPS_FEATURE_MEMORY_CUDA_MEMORY, NULL));
}

/* What gst-cuda does not load of the driver. */
typedef struct {
  CUresult (*retain) (CUcontext *context, CUdevice device);
  CUresult (*release) (CUdevice device);
  CUdevice device;
} Primary;

static gboolean
primary_load (Primary *primary)
{
  void *driver = dlopen (DRIVER, RTLD_NOW | RTLD_LOCAL);
  void *retain, *release;

  if (driver == NULL)
    return FALSE;
  retain = dlsym (driver, "cuDevicePrimaryCtxRetain");
  release = dlsym (driver, "cuDevicePrimaryCtxRelease_v2");
  memcpy (&primary->retain, &retain, sizeof retain);
  memcpy (&primary->release, &release, sizeof release);
  dlclose (driver); /* gst-cuda keeps it */
  return retain && release;
}

static void
primary_free (gpointer data)
{
  Primary *primary = data;

  primary->release (primary->device);
  g_free (primary);
}

GstObject *
gst_hired_vlm_cuda_context_new (gint gpu)
{
  g_autofree Primary *primary = g_new0 (Primary, 1);
  GstCudaContext *context;
  CUcontext handle;

  if (!gst_cuda_load_library () || !primary_load (primary) ||
      CuInit (0) != CUDA_SUCCESS ||
      CuDeviceGet (&primary->device, gpu) != CUDA_SUCCESS ||
      primary->retain (&handle, primary->device) != CUDA_SUCCESS)
    return NULL;
  gst_cuda_memory_init_once ();
  context = gst_cuda_context_new_wrapped (handle, primary->device);
  if (context == NULL) {
    primary->release (primary->device);
    return NULL;
  }
  g_object_set_data_full (
      G_OBJECT (context), PRIMARY, g_steal_pointer (&primary), primary_free);
  return GST_OBJECT (context);
}

void
gst_hired_vlm_cuda_offer (GstElement *element, GstObject *context)
{
  gst_element_post_message (
      element, gst_message_new_have_context (GST_OBJECT (element),
                   gst_context_new_cuda_context (GST_CUDA_CONTEXT (context))));
}

gboolean
gst_hired_vlm_cuda_answer (
    GstElement *element, GstObject *context, GstQuery *query)
{
  return gst_cuda_handle_context_query (
      element, query, (GstCudaContext *) context);
}

VlmMemory
gst_hired_vlm_cuda_memory (GstObject *context, GstBuffer *buffer)
{
  GstMemory *memory;
  GstCudaContext *own;

  if (gst_buffer_n_memory (buffer) == 0)
    return VLM_MEMORY_HOST; /* and cannot be mapped */
  memory = gst_buffer_peek_memory (buffer, 0);
  if (!gst_is_cuda_memory (memory))
    return VLM_MEMORY_HOST;
  own = GST_CUDA_MEMORY_CAST (memory)->context;
  return context && gst_cuda_context_get_handle (own) ==
                        gst_cuda_context_get_handle ((GstCudaContext *) context)
             ? VLM_MEMORY_DEVICE
             : VLM_MEMORY_FOREIGN;
}

/* What was written to it on a stream is to be there. */
static void
wait_for (GstBuffer *buffer)
{
#if GST_CHECK_VERSION(1, 24, 0)
  for (guint i = 0; i < gst_buffer_n_memory (buffer); i++)
    gst_cuda_memory_sync (
        GST_CUDA_MEMORY_CAST (gst_buffer_peek_memory (buffer, i)));
#endif
}

gboolean
gst_hired_vlm_cuda_map (GstVideoFrame *frame, const GstVideoInfo *info,
    GstBuffer *buffer, VlmMemory memory)
{
  if (memory == VLM_MEMORY_HOST)
    return gst_video_frame_map (frame, info, buffer, GST_MAP_READ);
  wait_for (buffer);
  return gst_video_frame_map (
      frame, info, buffer, (GstMapFlags) (GST_MAP_READ | GST_MAP_CUDA));
}
