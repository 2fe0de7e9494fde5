/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Prints docs/iscsi-keys.md; test-keytable fails when the file is not this */

#include <stdio.h>

#include "iscsi/keytable.h"

int
main(void)
{
    g_autofree char *page = key_table_to_markdown();

    return fputs(page, stdout) == EOF;
}
