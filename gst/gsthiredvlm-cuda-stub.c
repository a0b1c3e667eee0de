/* gsthiredvlm-cuda-stub.c - no frames in GPU memory: built without gst-cuda
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-cuda.h"

GstCaps *
gst_hired_vlm_cuda_caps (void)
{
  return gst_caps_new_empty ();
}

GstObject *
gst_hired_vlm_cuda_context_new (gint gpu)
{
  return NULL;
}

void
gst_hired_vlm_cuda_offer (GstElement *element, GstObject *context)
{
}

gboolean
gst_hired_vlm_cuda_answer (
    GstElement *element, GstObject *context, GstQuery *query)
{
  return FALSE;
}

VlmMemory
gst_hired_vlm_cuda_memory (GstObject *context, GstBuffer *buffer)
{
  return VLM_MEMORY_HOST;
}

gboolean
gst_hired_vlm_cuda_map (GstVideoFrame *frame, const GstVideoInfo *info,
    GstBuffer *buffer, VlmMemory memory)
{
  return gst_video_frame_map (frame, info, buffer, GST_MAP_READ);
}
