/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Strings that came from the wire or from the file system. A string on the bus
 * has to be UTF-8; anything may be sent by an initiator that has not even
 * proved who it is. All such text passes here before it becomes a GVariant.
 */

/* @text with control characters and bytes that are not UTF-8 written as \xNN; NULL is "" */
char *text_escape(const char *text);

/* A floating GVariant of type s of text_escape(@text) */
GVariant *text_variant(const char *text);
