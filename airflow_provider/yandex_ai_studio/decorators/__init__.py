"""``@task.yandex_ai_studio``: an operator whose prompt a function writes. All else is the operator's."""
