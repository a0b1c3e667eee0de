/* gsthiredvlm.h - the element's type
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_HIRED_VLM (gst_hired_vlm_get_type ())
G_DECLARE_FINAL_TYPE (GstHiredVlm, gst_hired_vlm, GST, HIRED_VLM, GstElement)

GST_ELEMENT_REGISTER_DECLARE (hiredvlm)

G_END_DECLS
