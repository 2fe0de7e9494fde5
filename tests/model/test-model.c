/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/model.h"

#include "util/error.h"

#define TARGET "iqn.2026-11.org.lunport:t"

/* What the observer was told, one letter each: + added, ~ changed, - removed, then the kind's first letters */
typedef struct {
    Model *model;
    GString *told;
} Fixture;

static void
note(Fixture *fixture, char sign, ModelKind kind)
{
    static const char letters[MODEL_KIND_N] = {
        [MODEL_SERVICE] = 's', [MODEL_BACKSTORE] = 'B',    [MODEL_TARGET] = 'T',
        [MODEL_LUN] = 'L',     [MODEL_PORTAL_GROUP] = 'G', [MODEL_PORTAL] = 'P',
        [MODEL_SESSION] = 'S', [MODEL_CONNECTION] = 'C'
    };

    g_string_append_printf(fixture->told, "%c%c", sign, letters[kind]);
}

static void
on_added(ModelKind kind, gpointer object, gpointer data)
{
    note(data, '+', kind);
}

static void
on_changed(ModelKind kind, gpointer object, gpointer data)
{
    note(data, '~', kind);
}

static void
on_removed(ModelKind kind, gpointer object, gpointer data)
{
    note(data, '-', kind);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    static const ModelObserver observer = { .added = on_added,
                                            .changed = on_changed,
                                            .removed = on_removed };

    fixture->model = model_new();
    fixture->told = g_string_new(NULL);
    model_set_observer(fixture->model, &observer, fixture);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    model_free(fixture->model);
    (void)g_string_free(fixture->told, TRUE);
}

static void
assert_told(Fixture *fixture, const char *expected)
{
    g_assert_cmpstr(fixture->told->str, ==, expected);
    g_string_truncate(fixture->told, 0);
}

static TargetSpec *
target_with_lun(void)
{
    TargetSpec *spec = target_spec_new(TARGET);

    target_spec_take_lun(spec, lun_spec_new(3, "d"));
    return spec;
}

static ModelSession *
add_session(Fixture *fixture, guint16 tsih, ModelTarget *target, ModelPortal *portal)
{
    ModelSession *session = model_session_new(tsih);
    ModelConnection *connection = g_new0(ModelConnection, 1);

    session->target = target;
    connection->session = session;
    connection->portal = portal;
    g_ptr_array_add(session->connections, connection);
    model_take_session(fixture->model, session);
    return session;
}

static void
test_parents_come_first_and_go_last(Fixture *fixture, gconstpointer data)
{
    ModelTarget *target;

    (void)model_add_backstore(fixture->model, backstore_spec_new("ram", "d"), NULL,
                              MODEL_ORIGIN_STATE);
    assert_told(fixture, "+B");
    target = model_add_target(fixture->model, target_with_lun(), NULL, MODEL_ORIGIN_STATE);
    assert_told(fixture, "+T+L~B");
    model_remove_target(fixture->model, target);
    assert_told(fixture, "-L~B-T");
}

static void
test_lun_waits_for_its_backstore(Fixture *fixture, gconstpointer data)
{
    const ModelTarget *target =
        model_add_target(fixture->model, target_with_lun(), NULL, MODEL_ORIGIN_STATE);
    const ModelLun *lun = model_find_lun(target, 3);
    const ModelBackstore *backstore;

    g_assert_null(lun->backstore);
    backstore = model_add_backstore(fixture->model, backstore_spec_new("ram", "d"), NULL,
                                    MODEL_ORIGIN_STATE);
    g_assert_true(lun->backstore == backstore);
    g_assert_cmpuint(backstore->luns->len, ==, 1);
}

static void
test_new_spec_changes_luns(Fixture *fixture, gconstpointer data)
{
    ModelTarget *target =
        model_add_target(fixture->model, target_with_lun(), NULL, MODEL_ORIGIN_STATE);
    TargetSpec *spec = target_spec_new(TARGET);

    target_spec_take_lun(spec, lun_spec_new(3, "other"));
    target_spec_take_lun(spec, lun_spec_new(1, "d"));
    g_string_truncate(fixture->told, 0);
    model_set_target(fixture->model, target, spec, NULL);
    assert_told(fixture, "-L+L+L~T");
    g_assert_cmpstr(model_find_lun(target, 3)->backstore_name, ==, "other");
    g_assert_cmpuint(((const ModelLun *)target->luns->pdata[0])->number, ==, 1);
    g_assert_true(model_find_target(fixture->model, TARGET) == target);
}

static void
test_lists_are_sorted(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = { "m", "z", "a" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        (void)model_add_backstore(fixture->model, backstore_spec_new("ram", names[i]), NULL,
                                  MODEL_ORIGIN_STATE);
    for (guint i = 1; i < fixture->model->backstores->len; i++) {
        const ModelBackstore *before = fixture->model->backstores->pdata[i - 1];
        const ModelBackstore *backstore = fixture->model->backstores->pdata[i];

        g_assert_cmpstr(before->spec->name, <, backstore->spec->name);
    }
}

static void
test_sessions_are_counted(Fixture *fixture, gconstpointer data)
{
    ModelTarget *target =
        model_add_target(fixture->model, target_spec_new(TARGET), NULL, MODEL_ORIGIN_STATE);
    ModelPortalGroup *group =
        model_add_portal_group(fixture->model, portal_group_spec_new(1), NULL, MODEL_ORIGIN_STATE);
    g_autoptr(PortalSpec) spec = portal_spec_new("192.0.2.1", 3260);
    ModelPortal *portal = model_add_portal(fixture->model, group, spec, MODEL_ORIGIN_COMMAND_LINE);
    ModelSession *session = add_session(fixture, 5, target, portal);

    g_assert_cmpuint(target->n_sessions, ==, 1);
    g_assert_cmpuint(portal->n_connections, ==, 1);
    g_assert_true(model_find_session(fixture->model, 5) == session);
    g_string_truncate(fixture->told, 0);
    model_remove_session(fixture->model, session);
    assert_told(fixture, "-C~P-S~T~s");
    g_assert_cmpuint(target->n_sessions, ==, 0);
    g_assert_cmpuint(portal->n_connections, ==, 0);
    g_assert_null(model_find_session(fixture->model, 5));
}

static void
test_nothing_points_at_what_has_gone(Fixture *fixture, gconstpointer data)
{
    ModelTarget *target =
        model_add_target(fixture->model, target_spec_new(TARGET), NULL, MODEL_ORIGIN_STATE);
    ModelPortalGroup *group =
        model_add_portal_group(fixture->model, portal_group_spec_new(1), NULL, MODEL_ORIGIN_STATE);
    g_autoptr(PortalSpec) spec = portal_spec_new("192.0.2.1", 3260);
    ModelPortal *portal = model_add_portal(fixture->model, group, spec, MODEL_ORIGIN_COMMAND_LINE);
    ModelSession *session = add_session(fixture, 5, target, portal);
    const ModelConnection *connection = session->connections->pdata[0];

    model_remove_portal_group(fixture->model, group);
    model_remove_target(fixture->model, target);
    g_assert_null(connection->portal);
    g_assert_null(session->target);
    model_remove_session(fixture->model, session);
}

static void
test_reserved_names(Fixture *fixture, gconstpointer data)
{
    model_reserve(fixture->model, MODEL_BACKSTORE, "d", "why");
    g_assert_cmpstr(model_find_reserved(fixture->model, MODEL_BACKSTORE, "d"), ==, "why");
    g_assert_null(model_find_reserved(fixture->model, MODEL_TARGET, "d"));
    model_unreserve_all(fixture->model);
    g_assert_null(model_find_reserved(fixture->model, MODEL_BACKSTORE, "d"));
}

static void
test_relative_ports_are_stable_and_unique(Fixture *fixture, gconstpointer data)
{
    guint16 port = model_make_relative_port(fixture->model, TARGET);
    TargetSpec *spec = target_spec_new("iqn.2026-11.org.lunport:other");

    g_assert_cmpuint(port, !=, 0);
    g_assert_cmpuint(model_make_relative_port(fixture->model, TARGET), ==, port);
    spec->relative_port = port;
    (void)model_add_target(fixture->model, spec, NULL, MODEL_ORIGIN_STATE);
    g_assert_cmpuint(model_make_relative_port(fixture->model, TARGET), !=, port);

    /* The portal groups of two targets do not meet */
    for (guint other_tag = 1; other_tag <= 256; other_tag++) {
        g_autoptr(TargetSpec) mine = target_spec_new(TARGET);

        mine->relative_port = model_make_relative_port(fixture->model, TARGET);
        g_assert_cmpuint(target_spec_relative_port(mine, 1), ==, mine->relative_port);
        for (guint tag = 1; tag <= 256; tag++)
            g_assert_cmpuint(target_spec_relative_port(mine, (guint16)tag), !=,
                             target_spec_relative_port(spec, (guint16)other_tag));
    }
}

static void
test_relative_ports_go_round(Fixture *fixture, gconstpointer data)
{
    g_autoptr(TargetSpec) spec = target_spec_new(TARGET);

    (void)fixture;
    (void)data;
    spec->relative_port = G_MAXUINT16;
    g_assert_cmpuint(target_spec_relative_port(spec, 1), ==, G_MAXUINT16);
    g_assert_cmpuint(target_spec_relative_port(spec, 2), ==, 1);
    g_assert_cmpuint(target_spec_relative_port(spec, G_MAXUINT16), ==, G_MAXUINT16 - 1);
}

static void
test_same_error_is_no_change(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_FAILED, "text");
    g_autoptr(GError) where = NULL;

    g_assert_false(model_set_error(&where, NULL));
    g_assert_true(model_set_error(&where, error));
    g_assert_false(model_set_error(&where, error));
    g_assert_true(model_set_error(&where, NULL));
    g_assert_null(where);
}

static void
add(const char *path, void (*test)(Fixture *fixture, gconstpointer data))
{
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/model/model/parents-come-first-and-go-last", test_parents_come_first_and_go_last);
    add("/model/model/lun-waits-for-its-backstore", test_lun_waits_for_its_backstore);
    add("/model/model/new-spec-changes-luns", test_new_spec_changes_luns);
    add("/model/model/lists-are-sorted", test_lists_are_sorted);
    add("/model/model/sessions-are-counted", test_sessions_are_counted);
    add("/model/model/nothing-points-at-what-has-gone", test_nothing_points_at_what_has_gone);
    add("/model/model/reserved-names", test_reserved_names);
    add("/model/model/relative-ports", test_relative_ports_are_stable_and_unique);
    add("/model/model/relative-ports-go-round", test_relative_ports_go_round);
    add("/model/model/same-error-is-no-change", test_same_error_is_no_change);
    return g_test_run();
}
