"""``@task.yandex_ai_studio``: an operator whose prompt, or rows, a function writes. All else is the operator's."""
