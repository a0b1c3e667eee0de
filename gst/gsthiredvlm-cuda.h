/* gsthiredvlm-cuda.h - frames in GPU memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The engine's memory is in the primary context of its GPU. Elements around
 * are offered that context, as gst-cuda's "gst.cuda.context", so that what
 * they allocate can be read in place. Frames of another context are copied
 * within the GPU, or from one GPU to the other. Where gst-cuda is missing at
 * build time gsthiredvlm-cuda-stub.c says that there is none of this.
 */
#pragma once

#include <gst/video/video.h>
#include "engine/image.h"

G_BEGIN_DECLS

/* Caps of frames in GPU memory, owned; empty in a build without. */
GstCaps *gst_hired_vlm_cuda_caps (void);

/* The primary context of a GPU, owned (a GstCudaContext), or NULL without a
 * driver. It is retained as long as anybody refers to it. */
GstObject *gst_hired_vlm_cuda_context_new (gint gpu);

/* Tells the pipeline about the context. */
void gst_hired_vlm_cuda_offer (GstElement *element, GstObject *context);

/* Answers a CONTEXT query about GPUs; FALSE if it is about something else. */
gboolean gst_hired_vlm_cuda_answer (
    GstElement *element, GstObject *context, GstQuery *query);

/* Where the buffer's pixels are, as the context's GPU sees it. */
VlmMemory gst_hired_vlm_cuda_memory (GstObject *context, GstBuffer *buffer);

/* Maps a frame for reading where it is. */
gboolean gst_hired_vlm_cuda_map (GstVideoFrame *frame, const GstVideoInfo *info,
    GstBuffer *buffer, VlmMemory memory);

G_END_DECLS
